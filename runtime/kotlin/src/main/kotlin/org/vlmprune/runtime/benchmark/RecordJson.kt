package org.vlmprune.runtime.benchmark

import org.vlmprune.runtime.toJson

/** Returns a record as JSON text; [readRecord] reads it back. */
internal fun recordJson(record: BenchmarkRecord): String = toJson(
    mapOf(
        "kind" to "benchmark",
        "record_version" to 1,
        "created" to record.created,
        "tool" to record.tool.run { mapOf("name" to name, "version" to version) },
        "device" to record.device.fields(),
        "settings" to record.settings.fields(),
        "results" to record.results.map { it.fields() },
    ),
)

private fun Device.fields() = mapOf(
    "kind" to kind,
    "name" to name,
    "os" to os,
    "cpu" to cpu,
    "cores" to cores,
    "memory_bytes" to memoryBytes,
    "load_before" to loadBefore,
    "thermal" to thermal?.run {
        mapOf(
            "before_celsius" to beforeCelsius,
            "after_celsius" to afterCelsius,
            "before_state" to beforeState,
            "after_state" to afterState,
        )
    },
    "battery" to battery?.run {
        mapOf(
            "level_before_fraction" to levelBeforeFraction,
            "level_after_fraction" to levelAfterFraction,
            "charging" to charging,
        )
    },
)

private fun Settings.fields() = mapOf(
    "repetitions" to repetitions,
    "warmups" to warmups,
    "tokens" to tokens,
    "threads" to threads,
    "prompt" to prompt,
    "image" to image.fields(),
    "images" to images.map { it.fields() },
    "follow_up" to followUp,
    "order" to "alternating pairs",
)

private fun ImageInfo.fields() = mapOf("name" to name, "sha256" to sha256, "width_px" to widthPx, "height_px" to heightPx)

private fun Result.fields() = mapOf(
    "bundle" to bundle.fields(),
    "engine" to engine.run { mapOf("name" to name, "version" to version, "unit" to unit) },
    "images" to images,
    "prompt_tokens" to promptTokens,
    "follow_up_tokens" to followUpTokens,
    "load_ms" to loadMs,
    "unpruned" to unpruned.fields(),
    "pruned" to pruned.fields(),
    "ratios" to ratios.fields(),
    "ceilings" to ceilings?.fields(),
    "memory" to memory.fields(),
    "runs" to runs.map { it.fields() },
)

private fun BundleInfo.fields() = mapOf(
    "name" to name,
    "folder" to folder,
    "manifest_sha256" to manifestSha256,
    "verified" to verified,
    "source_model" to sourceModel,
    "source_sha256" to sourceSha256,
    "model_type" to modelType,
    "target" to target,
    "quantisation" to quantisation,
    "method" to method,
    "layer" to layer,
    "visual_tokens" to visualTokens,
    "keep" to keep,
    "versions" to versions,
)

private fun ModeStats.fields() = mapOf(
    "stages_ms" to stagesMs.mapValues { it.value.fields() },
    "llm_prefill_ms" to llmPrefillMs.fields(),
    "ttft_ms" to ttftMs.fields(),
    "decode_ms_per_token" to decodeMsPerToken?.fields(),
    "decode_tokens_per_s" to decodeTokensPerS,
    "follow_up_ms" to followUpMs?.fields(),
    "flops" to flops?.run { mapOf("vision" to vision, "head" to head, "tail" to tail, "decode" to decode) },
    "kv_cache_filled_bytes" to kvCacheFilledBytes,
)

private fun Spread.fields() = mapOf("p50" to p50, "p90" to p90, "min" to min)

private fun PairedRatio.fields() = mapOf("median" to median, "p10" to p10, "p90" to p90)

private fun Ratios.fields() = mapOf(
    "tail" to tail.fields(),
    "llm_prefill" to llmPrefill.fields(),
    "ttft" to ttft.fields(),
    "decode" to decode?.fields(),
    "follow_up" to followUp?.fields(),
)

private fun Ceilings.fields() = mapOf(
    "llm_prefill" to llmPrefill,
    "llm_prefill_share" to llmPrefillShare,
    "ttft" to ttft,
    "ttft_share" to ttftShare,
    "ttft_by_time" to ttftByTime,
    "ttft_by_time_share" to ttftByTimeShare,
)

private fun MemoryUse.fields() = mapOf(
    "measure" to measure,
    "before_load_bytes" to beforeLoadBytes,
    "after_load_bytes" to afterLoadBytes,
    "pruned_peak_bytes" to prunedPeakBytes,
    "unpruned_peak_bytes" to unprunedPeakBytes,
    "kv_cache_allocated_bytes" to kvCacheAllocatedBytes,
)

private fun Run.fields() = mapOf(
    "round" to round,
    "pruned" to pruned,
    "stages_ms" to stagesMs,
    "ttft_ms" to ttftMs,
    "decode_ms" to decodeMs,
    "follow_up_ms" to followUpMs,
)
