package org.vlmprune.runtime

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtLoggingLevel
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import org.vlmprune.runtime.manifest.Cache
import org.vlmprune.runtime.manifest.Dimension
import org.vlmprune.runtime.manifest.Dtype
import org.vlmprune.runtime.manifest.Stage
import org.vlmprune.runtime.manifest.TensorSpec
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Runs the stages of an ONNX bundle on the CPU; each cache buffer is both input and output, and is never copied. */
class OnnxEngine(bundle: Bundle, options: EngineOptions = EngineOptions(), loading: (String) -> Unit = {}) : Engine {
    override val name = "onnxruntime"
    override val version: String? get() = environment.version
    private val environment = OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL).also { it.setTelemetry(false) }
    private val stages = mutableMapOf<String, LoadedStage>()

    init {
        try {
            val settings = Settings(options.threads ?: 0, options.contextOf(bundle))
            for ((name, stage) in bundle.manifest.stages) {
                loading(name)
                stages[name] = LoadedStage(environment, bundle, name, stage, settings)
            }
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    override fun run(stage: String, inputs: Map<String, Tensor>, grid: Int): Map<String, Tensor> {
        val loaded = stages[stage] ?: throw BadRequest("unknown stage ${shortRepr(stage)}; choose one of: ${commaList(stages.keys)}")
        return try {
            loaded.run(inputs, grid)
        } catch (error: OrtException) {
            throw EngineError(stage, error)
        }
    }

    override fun close() = stages.values.forEach { it.close() }
}

private class Settings(val threads: Int, val contextTokens: Int)

/** A stage's sessions by the grid that they serve (null: any), and its cache buffers. */
private class LoadedStage(
    private val environment: OrtEnvironment,
    bundle: Bundle,
    private val name: String,
    private val stage: Stage,
    private val settings: Settings,
) : AutoCloseable {
    private val sessions = mutableMapOf<Int?, OrtSession>()
    private val buffers = mutableListOf<OnnxTensor>()

    init {
        try {
            for (graph in stage.graphs) sessions[graph.grid] = session(bundle, graph.file)
            stage.cache?.let { cache -> repeat(cache.inputs.size) { buffers += buffer(cache) } }
        } catch (error: OrtException) {
            close()
            throw EngineError(name, error)
        }
    }

    fun run(inputs: Map<String, Tensor>, grid: Int): Map<String, Tensor> {
        checkCapacity(inputs)
        val session = sessions[null] ?: sessions.getValue(grid)
        val fed = stage.inputs.associate { it.tensor.name to tensor(inputs.getValue(it.tensor.name), it.tensor) }
        try {
            val cache = stage.cache
            val all = fed + cache?.inputs.orEmpty().zip(buffers)
            val pinned = cache?.outputs.orEmpty().zip(buffers).toMap()
            session.run(all, stage.outputs.map { it.name }.toSet(), pinned).use { result ->
                return stage.outputs.associate { it.name to value(result.get(it.name).get() as OnnxTensor) }
            }
        } finally {
            fed.values.forEach { it.close() }
        }
    }

    override fun close() {
        sessions.values.forEach { it.close() }
        buffers.forEach { it.close() }
    }

    private fun session(bundle: Bundle, file: String): OrtSession = OrtSession.SessionOptions().use { options ->
        if (settings.threads > 0) options.setIntraOpNumThreads(settings.threads)
        options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL)
        environment.createSession(bundle.path(file).toString(), options).also { checkGraph(it, file) }
    }

    private fun checkGraph(session: OrtSession, file: String) {
        val sides = listOf(
            Triple("inputs", session.inputInfo, stage.inputs.map { it.tensor.name } + stage.cache?.inputs.orEmpty()),
            Triple("outputs", session.outputInfo, stage.outputs.map { it.name } + stage.cache?.outputs.orEmpty()),
        )
        for ((side, info, names) in sides) {
            if (info.keys != names.toSet()) {
                val reason = "graph has ${commaList(info.keys.sorted())}; manifest says ${commaList(names.sorted())}"
                throw BundleError(file, reason, "stages.$name.$side")
            }
        }
        (stage.inputs.map { it.tensor } to session.inputInfo).let { (specs, info) ->
            specs.forEach { checkTensor(it, info.getValue(it.name).info as TensorInfo, file, "inputs") }
        }
        stage.outputs.forEach { checkTensor(it, session.outputInfo.getValue(it.name).info as TensorInfo, file, "outputs") }
    }

    private fun checkTensor(spec: TensorSpec, info: TensorInfo, file: String, side: String) {
        val sizes = info.shape
        val agrees = sizes.size == spec.graphShape.size && sizes.indices.all { nth ->
            val declared = spec.graphShape[nth]
            sizes[nth] < 0 || (declared is Dimension.Fixed && declared.size.toLong() == sizes[nth])
        }
        if (!agrees || info.type != TYPES.getValue(spec.dtype)) {
            throw BundleError(file, "the graph's tensor is not as the manifest says", "stages.$name.$side.${spec.name}")
        }
    }

    private fun checkCapacity(inputs: Map<String, Tensor>) {
        if (stage.cache == null) return
        fun of(tensor: String) = stage.inputs.first { it.source.tensor == tensor }.let { inputs.getValue(it.tensor.name) }
        val end = of("rows").shape[0] + (of("past_tokens") as IntegerTensor).values[0]
        if (end > settings.contextTokens) throw BadRequest("$name: $end tokens do not fit the context of ${settings.contextTokens}")
    }

    private fun buffer(cache: Cache): OnnxTensor {
        val shape = cache.layout.map { axis ->
            when (axis) {
                "kv_heads" -> cache.kvHeads
                "capacity" -> settings.contextTokens
                "head_dim" -> cache.headDim
                else -> 1
            }.toLong()
        }.toLongArray()
        val bytes = shape.fold(cache.dtype.bytes.toLong(), Long::times)
        if (bytes > Int.MAX_VALUE) throw BadRequest("$name: a cache buffer of $bytes bytes is too large")
        return OnnxTensor.createTensor(environment, direct(bytes.toInt()), shape, TYPES.getValue(cache.dtype))
    }

    private fun tensor(tensor: Tensor, spec: TensorSpec): OnnxTensor {
        val shape = graphShape(tensor.shape, spec)
        val count = shape.fold(1L, Long::times).toInt()
        val bytes = direct(count * spec.dtype.bytes)
        when (tensor) {
            is FloatTensor -> bytes.asFloatBuffer().put(tensor.values)
            is IntegerTensor ->
                if (spec.dtype == Dtype.INT64) bytes.asLongBuffer().put(tensor.values)
                else bytes.asIntBuffer().put(IntArray(count) { tensor.values[it].toInt() })
        }
        return OnnxTensor.createTensor(environment, bytes, shape, TYPES.getValue(spec.dtype))
    }

    /** The shape in the graph may have leading ones more. */
    private fun graphShape(shape: List<Int>, spec: TensorSpec): LongArray {
        val leading = List(spec.graphShape.size - spec.shape.size) { 1 }
        return (leading + shape).map { it.toLong() }.toLongArray()
    }

    private fun value(tensor: OnnxTensor): Tensor {
        val shape = tensor.info.shape.map { it.toInt() }
        return when (tensor.info.type) {
            OnnxJavaType.FLOAT -> FloatTensor(shape, FloatArray(tensor.floatBuffer.remaining()).also { tensor.floatBuffer.get(it) })
            OnnxJavaType.INT64 -> IntegerTensor(shape, LongArray(tensor.longBuffer.remaining()).also { tensor.longBuffer.get(it) })
            OnnxJavaType.INT32 -> IntegerTensor(shape, tensor.intBuffer.let { ints -> LongArray(ints.remaining()) { ints[it].toLong() } })
            else -> throw EngineError(name, IllegalStateException("an output has the type ${tensor.info.type}"))
        }
    }
}

private fun direct(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

private val TYPES = mapOf(
    Dtype.FLOAT32 to OnnxJavaType.FLOAT,
    Dtype.FLOAT16 to OnnxJavaType.FLOAT16,
    Dtype.INT64 to OnnxJavaType.INT64,
    Dtype.INT32 to OnnxJavaType.INT32,
    Dtype.UINT8 to OnnxJavaType.UINT8,
    Dtype.INT8 to OnnxJavaType.INT8,
)
