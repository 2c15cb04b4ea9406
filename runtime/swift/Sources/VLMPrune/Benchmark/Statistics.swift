extension BenchmarkRecord.Spread {
    /// Sums values up as percentiles, interpolated between the nearest two, and the least.
    init(_ values: [Double]) {
        self.init(
            p50: rounded(percentile(values, 50)), p90: rounded(percentile(values, 90)), min: rounded(values.min() ?? 0))
    }
}

extension BenchmarkRecord.PairedRatio {
    /// Sums up the ratios within the pairs, so that load that slows both runs of a pair cancels out.
    init(_ slow: [Double], _ fast: [Double]) {
        let ratios = zip(slow, fast).map { $0 / $1 }
        self.init(
            median: rounded(percentile(ratios, 50)), p10: rounded(percentile(ratios, 10)),
            p90: rounded(percentile(ratios, 90)))
    }
}

extension BenchmarkRecord.Ratios {
    init(unpruned: [TimedRun], pruned: [TimedRun]) {
        func ratio(_ reading: (TimedRun) -> Double) -> BenchmarkRecord.PairedRatio {
            BenchmarkRecord.PairedRatio(unpruned.map(reading), pruned.map(reading))
        }
        let decodes = unpruned.allSatisfy { !$0.timings.decodeMs.isEmpty }
        let further = (unpruned + pruned).allSatisfy { $0.followUpMs != nil }
        self.init(
            tail: ratio { $0.timings.ms(of: "tail") },
            llmPrefill: ratio { $0.timings.llmPrefillMs },
            ttft: ratio { $0.timings.ttftMs },
            decode: decodes ? ratio { $0.timings.meanDecodeMs } : nil,
            followUp: further ? ratio { $0.followUpMs ?? 0 } : nil
        )
    }
}

extension BenchmarkRecord.Ceilings {
    /// Compares what was measured with what is possible, by FLOPs and by the unpruned times.
    init(_ measured: BenchmarkRecord.Ratios, slow: StageFlops, fast: StageFlops, unpruned: [TimedRun]) {
        let llm = Double(slow.llm) / Double(fast.llm)
        var ttft: Double?
        if let before = slow.vision, let after = fast.vision {
            ttft = Double(before + slow.llm) / Double(after + fast.llm)
        }
        let byTime = speedupByTime(unpruned, tailFraction: Double(fast.tail) / Double(slow.tail))
        self.init(
            llmPrefill: rounded(llm), llmPrefillShare: rounded(measured.llmPrefill.median / llm),
            ttft: ttft.map(rounded), ttftShare: ttft.map { rounded(measured.ttft.median / $0) },
            ttftByTime: rounded(byTime), ttftByTimeShare: rounded(measured.ttft.median / byTime))
    }
}

/// Returns how many times sooner the first token could come if only the tail shrank, to that fraction of its time.
private func speedupByTime(_ unpruned: [TimedRun], tailFraction: Double) -> Double {
    let ratios = unpruned.map { run in
        run.timings.ttftMs / (run.timings.ttftMs - (1 - tailFraction) * run.timings.ms(of: "tail"))
    }
    return percentile(ratios, 50)
}

extension Timings {
    /// The mean time of a token after the first.
    var meanDecodeMs: Double { decodeMs.reduce(0, +) / Double(max(1, decodeMs.count)) }
}

/// Returns a percentile, interpolated between the nearest two values.
func percentile(_ values: [Double], _ part: Double) -> Double {
    let sorted = values.sorted()
    guard let last = sorted.last else { return 0 }
    let place = part / 100 * Double(sorted.count - 1)
    let low = Int(place)
    return low + 1 < sorted.count ? sorted[low] + (place - Double(low)) * (sorted[low + 1] - sorted[low]) : last
}

/// Returns a number rounded to four places.
func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }
