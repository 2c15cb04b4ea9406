package org.vlmprune.runtime

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtLoggingLevel
import ai.onnxruntime.OrtSession
import ai.onnxruntime.platform.Fp16Conversions
import org.vlmprune.runtime.manifest.Cache
import org.vlmprune.runtime.manifest.Dtype
import org.vlmprune.runtime.manifest.Graph
import org.vlmprune.runtime.manifest.Stage
import org.vlmprune.runtime.manifest.TensorSpec
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Runs the stages of an ONNX bundle on the CPU; the sessions share a thread pool, and each cache buffer is both input and
 * output of its stage and is never copied.
 */
class OnnxEngine(bundle: Bundle, options: EngineOptions = EngineOptions(), loading: (String) -> Unit = {}) : Engine {
    private val environment = OnnxThreads.environment(options.threads)
    private val contextTokens = options.contextOf(bundle)
    private val stages = mutableMapOf<String, LoadedStage>()
    override val name = "onnxruntime"
    override val version: String? get() = environment.version

    init {
        checkSignatures(bundle.manifest)
        try {
            for (stage in bundle.manifest.stages.keys) {
                loading(stage)
                stages[stage] = LoadedStage(environment, bundle, stage, contextTokens)
            }
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    override fun run(stage: String, inputs: Map<String, Tensor>, grid: Int): Map<String, Tensor> {
        val loaded = stages[stage] ?: throw BadRequest("unknown stage ${shortRepr(stage)}; choose one of: ${commaList(stages.keys)}")
        checkCapacity(stage, loaded.stage, inputs, contextTokens)
        return try {
            loaded.run(inputs, grid)
        } catch (error: OrtException) {
            throw EngineError(stage, error)
        }
    }

    override fun close() = stages.values.forEach { it.close() }
}

/** The one thread pool of the process, because the threads of two pools slow each other. */
private object OnnxThreads {
    private var environment: OrtEnvironment? = null
    private var threads: Int? = null

    /** Returns the environment; the first call decides the number of threads. Raises [BadRequest] for another one. */
    @Synchronized
    fun environment(requested: Int?): OrtEnvironment {
        environment?.let {
            if (requested == null || requested == threads) return it
            throw BadRequest("threads: got $requested, but this process has started its pool with ${threads ?: "one per core"}")
        }
        threads = requested
        return created(requested).also {
            it.setTelemetry(false)
            environment = it
        }
    }

    private fun created(requested: Int?): OrtEnvironment = OrtEnvironment.ThreadingOptions().use { options ->
        options.setGlobalIntraOpNumThreads(requested ?: 0)
        options.setGlobalInterOpNumThreads(1)
        OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL, "vlmprune", options)
    }
}

/** A stage's sessions by the grid that they serve (null: every grid), and its cache buffers. */
private class LoadedStage(
    private val environment: OrtEnvironment,
    private val bundle: Bundle,
    private val name: String,
    contextTokens: Int,
) : AutoCloseable {
    val stage: Stage = bundle.manifest.stages.getValue(name)
    private val sessions = mutableMapOf<Int?, OrtSession>()
    private val buffers = mutableListOf<OnnxTensor>()
    private val outputNames = stage.outputs.map { it.name }.toSet()
    private val cacheInputs: Map<String, OnnxTensor>
    private val cacheOutputs: Map<String, OnnxTensor>

    init {
        try {
            for (graph in stage.graphs) sessions[graph.grid] = session(graph)
            stage.cache?.let { cache -> repeat(cache.inputs.size) { buffers += buffer(cache, contextTokens) } }
        } catch (error: OrtException) {
            close()
            throw EngineError(name, error)
        } catch (error: OutOfMemoryError) {
            close()
            throw EngineError(name, IllegalStateException("no memory for its cache", error))
        }
        cacheInputs = stage.cache?.inputs.orEmpty().zip(buffers).toMap()
        cacheOutputs = stage.cache?.outputs.orEmpty().zip(buffers).toMap()
    }

    fun run(inputs: Map<String, Tensor>, grid: Int): Map<String, Tensor> {
        val session = sessions[null] ?: sessions.getValue(grid)
        val fed = HashMap<String, OnnxTensor>(cacheInputs)
        val made = stage.inputs.map { spec -> tensor(inputs.getValue(spec.tensor.name), spec.tensor).also { fed[spec.tensor.name] = it } }
        try {
            session.run(fed, outputNames, cacheOutputs).use { result ->
                return stage.outputs.associate { it.name to value(result.get(it.name).get() as OnnxTensor, it) }
            }
        } finally {
            made.forEach { it.close() }
        }
    }

    override fun close() {
        sessions.values.forEach { it.close() }
        buffers.forEach { it.close() }
    }

    private fun session(graph: Graph): OrtSession = OrtSession.SessionOptions().use { options ->
        options.disablePerSessionThreads()
        options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL)
        val session = environment.createSession(bundle.path(graph.file).toString(), options)
        try {
            checkGraph(session, name, graph.file, bundle.manifest.stageOnGrid(name, graph.grid ?: 0))
        } catch (error: BundleError) {
            session.close()
            throw error
        }
        session
    }

    private fun buffer(cache: Cache, contextTokens: Int): OnnxTensor {
        val sizes = mapOf("kv_heads" to cache.kvHeads, "capacity" to contextTokens, "head_dim" to cache.headDim)
        val shape = cache.layout.map { (sizes[it] ?: 1).toLong() }.toLongArray()
        val bytes = shape.fold(cache.dtype.bytes.toLong(), Long::times)
        if (bytes > Int.MAX_VALUE) throw BadRequest("$name: a cache buffer of $bytes bytes is too large")
        return OnnxTensor.createTensor(environment, direct(bytes.toInt()), shape, ONNX_TYPES.getValue(cache.dtype))
    }

    private fun tensor(tensor: Tensor, spec: TensorSpec): OnnxTensor {
        val leading = spec.graphShape.size - spec.shape.size // the shape in the graph may have leading ones more
        val shape = LongArray(leading + tensor.shape.size) { if (it < leading) 1 else tensor.shape[it - leading].toLong() }
        val bytes = direct(shape.fold(1L, Long::times).toInt() * spec.dtype.bytes)
        when (tensor) {
            is FloatTensor -> bytes.putFloats(tensor.values, spec.dtype)
            is IntegerTensor -> bytes.putIntegers(tensor.values, spec.dtype)
        }
        return OnnxTensor.createTensor(environment, bytes, shape, ONNX_TYPES.getValue(spec.dtype))
    }

    private fun value(tensor: OnnxTensor, spec: TensorSpec): Tensor {
        val sizes = tensor.info.shape
        val shape = sizes.drop(sizes.size - spec.shape.size).map { it.toInt() }
        return when (tensor.info.type) {
            OnnxJavaType.FLOAT, OnnxJavaType.FLOAT16 -> FloatTensor(shape, tensor.floatBuffer.array())
            OnnxJavaType.INT64 -> IntegerTensor(shape, tensor.longBuffer.array())
            else -> tensor.intBuffer.array().let { ints -> IntegerTensor(shape, LongArray(ints.size) { ints[it].toLong() }) }
        }
    }
}

private fun ByteBuffer.putFloats(values: FloatArray, dtype: Dtype) {
    if (dtype == Dtype.FLOAT32) asFloatBuffer().put(values) else asShortBuffer().let { shorts -> values.forEach { shorts.put(Fp16Conversions.floatToFp16(it)) } }
}

private fun ByteBuffer.putIntegers(values: LongArray, dtype: Dtype) {
    if (dtype == Dtype.INT64) asLongBuffer().put(values) else asIntBuffer().let { ints -> values.forEach { ints.put(it.toInt()) } }
}

private fun direct(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
