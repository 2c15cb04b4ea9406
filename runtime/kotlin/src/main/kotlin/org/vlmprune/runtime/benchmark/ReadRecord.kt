package org.vlmprune.runtime.benchmark

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record
import org.vlmprune.runtime.parseJson
import java.io.StringReader

/** Returns the record in a JSON text of any runner. Raises `BundleError` with [file] and field for another text. */
fun readRecord(json: String, file: String = "record.json"): BenchmarkRecord =
    Field(parseJson(StringReader(json), file), file, emptyList(), lenient = true).record { record ->
        record["kind"].choice(mapOf("benchmark" to Unit))
        record["record_version"].int(1..1)
        BenchmarkRecord(
            created = record["created"].text(),
            tool = record["tool"].record { Tool(it["name"].text(), it["version"].text()) },
            device = readDevice(record["device"]),
            settings = readSettings(record["settings"]),
            results = record["results"].list(::readResult),
        )
    }

private fun readDevice(field: Field): Device = field.record { record ->
    Device(
        kind = record["kind"].text(),
        name = record["name"].text(),
        os = record["os"].text(),
        cpu = record.optional("cpu")?.text(),
        cores = record.optional("cores")?.count()?.toInt(),
        memoryBytes = record.optional("memory_bytes")?.count(),
        loadBefore = record.optional("load_before")?.number(),
        thermal = record.optional("thermal")?.let(::readThermal),
        battery = record.optional("battery")?.let(::readBattery),
    )
}

private fun readThermal(field: Field) = field.record { record ->
    fun degrees(name: String) = record.optional(name)?.number()
    fun word(name: String) = record.optional(name)?.text()
    Thermal(degrees("before_celsius"), degrees("after_celsius"), word("before_state"), word("after_state"))
}

private fun readBattery(field: Field) = field.record { record ->
    fun level(name: String) = record.optional(name)?.number()
    Battery(level("level_before_fraction"), level("level_after_fraction"), record.optional("charging")?.flag())
}

private fun readSettings(field: Field): Settings = field.record { record ->
    Settings(
        repetitions = record["repetitions"].count().toInt(),
        warmups = record["warmups"].count().toInt(),
        tokens = record["tokens"].count().toInt(),
        threads = record.optional("threads")?.count()?.toInt(),
        prompt = record["prompt"].text(),
        image = readImageInfo(record["image"]),
        images = record.optional("images")?.list(::readImageInfo).orEmpty(),
        followUp = record.optional("follow_up")?.text(),
    )
}

private fun readImageInfo(field: Field): ImageInfo = field.record { record ->
    ImageInfo(
        name = record["name"].text(),
        sha256 = record.optional("sha256")?.text(),
        widthPx = record["width_px"].count().toInt(),
        heightPx = record["height_px"].count().toInt(),
    )
}

private fun readResult(field: Field): Result = field.record { record ->
    Result(
        bundle = readBundleInfo(record["bundle"]),
        engine = record["engine"].record {
            EngineInfo(it["name"].text(), it.optional("version")?.text(), it.optional("unit")?.text() ?: "cpu")
        },
        images = record["images"].count().toInt(),
        promptTokens = record["prompt_tokens"].count().toInt(),
        followUpTokens = record.optional("follow_up_tokens")?.count()?.toInt(),
        loadMs = record.optional("load_ms")?.number(),
        unpruned = readModeStats(record["unpruned"]),
        pruned = readModeStats(record["pruned"]),
        ratios = readRatios(record["ratios"]),
        ceilings = record.optional("ceilings")?.let(::readCeilings),
        memory = readMemoryUse(record["memory"]),
        runs = record["runs"].list(::readRun),
    )
}

private fun readBundleInfo(field: Field): BundleInfo = field.record { record ->
    BundleInfo(
        name = record["name"].text(),
        folder = record["folder"].text(),
        manifestSha256 = record["manifest_sha256"].text(),
        verified = record["verified"].flag(),
        sourceModel = record["source_model"].text(),
        sourceSha256 = record.optional("source_sha256")?.text(),
        modelType = record["model_type"].text(),
        target = record["target"].text(),
        quantisation = record["quantisation"].text(),
        method = record["method"].text(),
        layer = record["layer"].count().toInt(),
        visualTokens = record["visual_tokens"].count().toInt(),
        keep = record["keep"].count().toInt(),
        versions = record["versions"].table { _, version -> version.text() },
    )
}

private fun readModeStats(field: Field): ModeStats = field.record { record ->
    ModeStats(
        stagesMs = record["stages_ms"].table { _, stage -> readSpread(stage) },
        llmPrefillMs = readSpread(record["llm_prefill_ms"]),
        ttftMs = readSpread(record["ttft_ms"]),
        decodeMsPerToken = record.optional("decode_ms_per_token")?.let(::readSpread),
        decodeTokensPerS = record.optional("decode_tokens_per_s")?.number(),
        followUpMs = record.optional("follow_up_ms")?.let(::readSpread),
        flops = record.optional("flops")?.record { flops ->
            Flops(flops.optional("vision")?.count(), flops["head"].count(), flops["tail"].count(), flops["decode"].count())
        },
        kvCacheFilledBytes = record.optional("kv_cache_filled_bytes")?.count(),
    )
}

private fun readSpread(field: Field) = field.record { Spread(it["p50"].number(), it["p90"].number(), it["min"].number()) }

private fun readRatio(field: Field) =
    field.record { PairedRatio(it["median"].number(), it["p10"].number(), it["p90"].number()) }

private fun readRatios(field: Field): Ratios = field.record { record ->
    Ratios(
        tail = readRatio(record["tail"]),
        llmPrefill = readRatio(record["llm_prefill"]),
        ttft = readRatio(record["ttft"]),
        decode = record.optional("decode")?.let(::readRatio),
        followUp = record.optional("follow_up")?.let(::readRatio),
    )
}

private fun readCeilings(field: Field): Ceilings = field.record { record ->
    Ceilings(
        llmPrefill = record["llm_prefill"].number(),
        llmPrefillShare = record["llm_prefill_share"].number(),
        ttft = record.optional("ttft")?.number(),
        ttftShare = record.optional("ttft_share")?.number(),
        ttftByTime = record["ttft_by_time"].number(),
        ttftByTimeShare = record["ttft_by_time_share"].number(),
    )
}

private fun readMemoryUse(field: Field): MemoryUse = field.record { record ->
    fun Record.bytes(name: String) = optional(name)?.count()
    MemoryUse(
        measure = record["measure"].text(),
        beforeLoadBytes = record.bytes("before_load_bytes"),
        afterLoadBytes = record.bytes("after_load_bytes"),
        prunedPeakBytes = record.bytes("pruned_peak_bytes"),
        unprunedPeakBytes = record.bytes("unpruned_peak_bytes"),
        kvCacheAllocatedBytes = record.bytes("kv_cache_allocated_bytes"),
    )
}

private fun readRun(field: Field): Run = field.record { record ->
    Run(
        round = record["round"].count().toInt(),
        pruned = record["pruned"].flag(),
        stagesMs = record["stages_ms"].table { _, ms -> ms.number() },
        ttftMs = record["ttft_ms"].number(),
        decodeMs = record["decode_ms"].list { it.number() },
        followUpMs = record.optional("follow_up_ms")?.number(),
    )
}

private fun Field.count(): Long = integer(0..Long.MAX_VALUE)
