package org.vlmprune.runtime

import ai.onnxruntime.NodeInfo
import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import org.vlmprune.runtime.manifest.Cache
import org.vlmprune.runtime.manifest.Dimension
import org.vlmprune.runtime.manifest.Dtype
import org.vlmprune.runtime.manifest.Stage

internal val ONNX_TYPES = mapOf(
    Dtype.FLOAT32 to OnnxJavaType.FLOAT,
    Dtype.FLOAT16 to OnnxJavaType.FLOAT16,
    Dtype.INT64 to OnnxJavaType.INT64,
    Dtype.INT32 to OnnxJavaType.INT32,
    Dtype.UINT8 to OnnxJavaType.UINT8,
    Dtype.INT8 to OnnxJavaType.INT8,
)

/** A tensor of the graph as the manifest declares it; a size of null is free. */
private class Declared(val name: String, val dtype: Dtype, val sizes: List<Long?>)

/** Raises [BundleError] for the first tensor whose name, type, rank or fixed size is not as the manifest declares it. */
internal fun checkGraph(session: OrtSession, name: String, file: String, stage: Stage) {
    val inputs = stage.inputs.map { it.tensor }.map { Declared(it.name, it.dtype, sizes(it.graphShape)) }
    val outputs = stage.outputs.map { Declared(it.name, it.dtype, sizes(it.graphShape)) }
    val cache = stage.cache
    checkSide(file, "stages.$name.inputs", inputs + cache.declared(cache?.inputs), session.inputInfo)
    checkSide(file, "stages.$name.outputs", outputs + cache.declared(cache?.outputs), session.outputInfo)
}

private fun sizes(shape: List<Dimension>): List<Long?> = shape.map { (it as? Dimension.Fixed)?.size?.toLong() }

/** Returns the cache's buffers as declared tensors; the capacity is the engine's to choose. */
private fun Cache?.declared(names: List<String>?): List<Declared> {
    if (this == null) return emptyList()
    val sizes = mapOf("batch" to 1L, "kv_heads" to kvHeads.toLong(), "head_dim" to headDim.toLong())
    return names.orEmpty().map { name -> Declared(name, dtype, layout.map { sizes[it] }) }
}

private fun checkSide(file: String, place: String, declared: List<Declared>, graph: Map<String, NodeInfo>) {
    val names = declared.map { it.name }
    if (graph.keys != names.toSet()) {
        val reason = "graph has ${commaList(graph.keys.sorted())}; manifest says ${commaList(names.sorted())}"
        throw BundleError(file, reason, place)
    }
    declared.forEach { checkTensor(file, "$place.${it.name}", it, graph.getValue(it.name).info) }
}

private fun checkTensor(file: String, place: String, declared: Declared, info: Any) {
    val type = (info as? TensorInfo)?.type
    if (info !is TensorInfo || type != ONNX_TYPES.getValue(declared.dtype)) {
        throw BundleError(file, "graph has ${"$type".lowercase()}, manifest says ${declared.dtype.name.lowercase()}", place)
    }
    val graph = info.shape.toList()
    val agrees = graph.size == declared.sizes.size && graph.zip(declared.sizes).all { (size, said) -> size < 0 || size == said }
    if (!agrees) throw BundleError(file, "graph has $graph, manifest says ${declared.sizes.map { it ?: "free" }}", place)
}
