import Foundation

/// What a benchmark measures with.
public struct BenchmarkPlan: Equatable, Sendable {
    public let photo: Photo
    public let question: String
    public let pairs: Int
    public let warmups: Int
    public let tokens: Int?

    public init(photo: Photo, question: String, pairs: Int, warmups: Int = 2, tokens: Int? = nil) {
        (self.photo, self.question, self.pairs, self.warmups, self.tokens) = (photo, question, pairs, warmups, tokens)
    }
}

public enum BenchmarkEvent: Equatable, Sendable {
    case run(done: Int, total: Int)
    case waiting(Waiting)
    /// The record in the one schema of all runners.
    case finished(json: Data)
}

public struct Quantiles: Equatable, Sendable, Decodable {
    public let p50: Double
    public let p90: Double
    public let min: Double
}

/// A stage's times in both modes; a mode without the stage has nil.
public struct StageRow: Identifiable, Equatable, Sendable {
    public let stage: String
    public let unpruned: Quantiles?
    public let pruned: Quantiles?

    public var id: String { stage }
}

/// How many times faster: measured, and at most by the FLOPs.
public struct Speedup: Equatable, Sendable {
    public enum Kind: String, Sendable { case firstToken, prefill }

    public let kind: Kind
    public let measured: Double
    public let ceiling: Double?
}

public enum Disturbance: String, CaseIterable, Sendable, Codable {
    case ranHot, chargingChanged, lowBattery, lowPower, lowMemory
}

/// A finished benchmark as the screens show it; `json` is the record as it is shared.
public struct BenchmarkReport: Identifiable, Equatable, Sendable {
    public let id: String
    public let json: Data
    public let moments: [DeviceMoment]
    public let created: String
    public let bundle: String
    public let pairs: Int
    public let rows: [StageRow]
    public let speedups: [Speedup]
    public let prunedPeakBytes: Int?
    public let unprunedPeakBytes: Int?

    /// Reads a record. Throws what the decoder throws for anything else.
    public init(id: String, json: Data, moments: [DeviceMoment] = []) throws {
        let record = try JSONDecoder().decode(RecordFields.self, from: json)
        guard record.kind == "benchmark", let result = record.results.first else {
            throw Problem(.unreadableFile, id)
        }
        (self.id, self.json, self.moments) = (id, json, moments)
        created = record.created
        bundle = result.bundle.name
        pairs = record.settings.repetitions
        rows = result.rows
        speedups = [
            Speedup(kind: .firstToken, measured: result.ratios.ttft.median, ceiling: result.ceilings?.ttft),
            Speedup(kind: .prefill, measured: result.ratios.llm_prefill.median, ceiling: result.ceilings?.llm_prefill),
        ]
        prunedPeakBytes = result.memory.pruned_peak_bytes
        unprunedPeakBytes = result.memory.unpruned_peak_bytes
    }

    /// What may have made the times worse than they are.
    public var disturbances: [Disturbance] {
        Disturbance.allCases.filter { kind in
            switch kind {
            case .ranHot: moments.contains(where: \.isHot)
            case .chargingChanged: Set(moments.compactMap(\.isCharging)).count > 1
            case .lowBattery: moments.contains { ($0.batteryFraction ?? 1) < 0.2 && $0.isCharging != true }
            case .lowPower: moments.contains(where: \.isLowPower)
            case .lowMemory: moments.contains { ($0.availableBytes ?? .max) < 200 << 20 }
            }
        }
    }

    /// The median times, one line for each stage and mode, as comma-separated values.
    public var csv: String {
        var lines = ["bundle,created,stage,mode,p50_ms,p90_ms,min_ms"]
        for row in rows {
            for (mode, times) in [("unpruned", row.unpruned), ("pruned", row.pruned)] {
                guard let times else { continue }
                lines.append("\(bundle),\(created),\(row.stage),\(mode),\(times.p50),\(times.p90),\(times.min)")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// By how many per cent a stage's median differs from the baseline's; negative is faster.
    public func change(of row: StageRow, pruned: Bool, from baseline: BenchmarkReport?) -> Double? {
        let before = baseline?.rows.first { $0.stage == row.stage }
        guard let old = pruned ? before?.pruned : before?.unpruned, let new = pruned ? row.pruned : row.unpruned,
            old.p50 > 0
        else { return nil }
        return 100 * (new.p50 / old.p50 - 1)
    }
}

/// The fields of a record that the screens show; their names are the schema's.
private struct RecordFields: Decodable {
    struct Settings: Decodable { let repetitions: Int }
    struct Ratio: Decodable { let median: Double }
    struct Ratios: Decodable {
        let ttft: Ratio
        let llm_prefill: Ratio
    }
    struct Ceilings: Decodable {
        let ttft: Double?
        let llm_prefill: Double?
    }
    struct Memory: Decodable {
        let pruned_peak_bytes: Int?
        let unpruned_peak_bytes: Int?
    }
    struct Named: Decodable { let name: String }
    struct Mode: Decodable {
        let stages_ms: [String: Quantiles]
        let ttft_ms: Quantiles
        let llm_prefill_ms: Quantiles
        let decode_ms_per_token: Quantiles?
        let follow_up_ms: Quantiles?
    }
    struct Result: Decodable {
        let bundle: Named
        let ratios: Ratios
        let ceilings: Ceilings?
        let memory: Memory
        let unpruned: Mode
        let pruned: Mode

        /// Rows of all stages in the order in which they run, and of what is made of them.
        var rows: [StageRow] {
            let known = ["preprocess", "vision", "prune_vision", "embed", "prune_input", "head", "prune", "tail"]
            let stages = Set(unpruned.stages_ms.keys).union(pruned.stages_ms.keys)
            let order = known.filter(stages.contains) + stages.subtracting(known).sorted()
            return order.map { StageRow(stage: $0, unpruned: unpruned.stages_ms[$0], pruned: pruned.stages_ms[$0]) }
                + [
                    StageRow(stage: "llm_prefill", unpruned: unpruned.llm_prefill_ms, pruned: pruned.llm_prefill_ms),
                    StageRow(stage: "first_token", unpruned: unpruned.ttft_ms, pruned: pruned.ttft_ms),
                    StageRow(
                        stage: "decode", unpruned: unpruned.decode_ms_per_token, pruned: pruned.decode_ms_per_token),
                    StageRow(stage: "follow_up", unpruned: unpruned.follow_up_ms, pruned: pruned.follow_up_ms),
                ].filter { $0.unpruned != nil || $0.pruned != nil }
        }
    }

    let kind: String
    let created: String
    let settings: Settings
    let results: [Result]
}
