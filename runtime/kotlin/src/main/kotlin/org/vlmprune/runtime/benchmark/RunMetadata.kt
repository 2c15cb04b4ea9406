package org.vlmprune.runtime.benchmark

/** The program that measured. */
data class Tool(val name: String, val version: String)

/** The state of the battery at the start and at the end. */
data class Battery(val levelBeforeFraction: Double? = null, val levelAfterFraction: Double? = null, val charging: Boolean? = null)

/** The hottest sensor in degrees Celsius, and the system's own word, such as "nominal" or "throttled". */
data class Thermal(
    val beforeCelsius: Double? = null,
    val afterCelsius: Double? = null,
    val beforeState: String? = null,
    val afterState: String? = null,
)

/** The device; [kind] is "desktop" or "android", [loadBefore] the load average of one minute. */
data class Device(
    val kind: String,
    val name: String,
    val os: String,
    val cpu: String? = null,
    val cores: Int? = null,
    val memoryBytes: Long? = null,
    val loadBefore: Double? = null,
    val thermal: Thermal? = null,
    val battery: Battery? = null,
)

/** The picture of the question; [sha256] is the hash of its file. */
data class ImageInfo(val name: String, val sha256: String?, val widthPx: Int, val heightPx: Int)

/**
 * The requested settings. Of several images [image] is the first and [images] are all; [followUp] is the further
 * question, null for none. Decoding is greedy and ignores stop tokens, so both modes decode as many tokens.
 */
data class Settings(
    val repetitions: Int,
    val warmups: Int,
    val tokens: Int,
    val threads: Int?,
    val prompt: String,
    val image: ImageInfo,
    val images: List<ImageInfo>,
    val followUp: String?,
)

/** The engine that ran the graphs; [unit] is "cpu", "gpu", "npu" or the vendor's own word. */
data class EngineInfo(val name: String, val version: String?, val unit: String = "cpu")

/** The bundle; [manifestSha256] stands for all of it, and [verified] says that its files' hashes were checked. */
data class BundleInfo(
    val name: String,
    val folder: String,
    val manifestSha256: String,
    val verified: Boolean,
    val sourceModel: String,
    val sourceSha256: String?,
    val modelType: String,
    val target: String,
    val quantisation: String,
    val method: String,
    val layer: Int,
    val visualTokens: Int,
    val keep: Int,
    val versions: Map<String, String>,
)
