import Foundation

/// The benchmark record that every runner writes and `vlmprune-report` reads. Its JSON Schema is
/// `runtime/vlmprune_runtime/benchmark/schema.json`, which says what each field means.
public struct BenchmarkRecord: Codable, Sendable, Equatable {
    public var kind = "benchmark"
    public var recordVersion = 1
    public let created: String
    public let tool: Tool
    public private(set) var device: Device
    public let settings: Settings
    public let results: [Result]

    public struct Tool: Codable, Sendable, Equatable {
        public let name: String
        public let version: String
    }

    public struct Thermal: Codable, Sendable, Equatable {
        public let beforeCelsius: Double?
        public let afterCelsius: Double?
        public let beforeState: String?
        public let afterState: String?
    }

    public struct Battery: Codable, Sendable, Equatable {
        public let levelBeforeFraction: Double?
        public let levelAfterFraction: Double?
        public let charging: Bool?

        public init(levelBeforeFraction: Double?, levelAfterFraction: Double?, charging: Bool?) {
            self.levelBeforeFraction = levelBeforeFraction
            self.levelAfterFraction = levelAfterFraction
            self.charging = charging
        }
    }

    public struct Device: Codable, Sendable, Equatable {
        public let kind: String
        public let name: String
        public let os: String
        public let cpu: String?
        public let cores: Int?
        public let memoryBytes: Int?
        public let loadBefore: Double?
        public let thermal: Thermal?
        public fileprivate(set) var battery: Battery?
    }

    public struct Image: Codable, Sendable, Equatable {
        public let name: String
        @Nullable public var sha256: String?
        public let widthPx: Int
        public let heightPx: Int
    }

    public struct Settings: Codable, Sendable, Equatable {
        public let repetitions: Int
        public let warmups: Int
        public let tokens: Int
        @Nullable public var threads: Int?
        public let prompt: String
        public let image: Image
        public let images: [Image]
        public let followUp: String?
        public var order = "alternating pairs"
    }

    public struct Engine: Codable, Sendable, Equatable {
        public let name: String
        @Nullable public var version: String?
        public let unit: String
    }

    public struct BundleInfo: Codable, Sendable, Equatable {
        public let name: String
        public let folder: String
        public let manifestSha256: String
        public let verified: Bool
        public let sourceModel: String
        @Nullable public var sourceSha256: String?
        public let modelType: String
        public let target: String
        public let quantisation: String
        public let method: String
        public let layer: Int
        public let visualTokens: Int
        public let keep: Int
        public let versions: [String: String]
    }

    public struct Spread: Codable, Sendable, Equatable {
        public let p50: Double
        public let p90: Double
        public let min: Double
    }

    public struct Flops: Codable, Sendable, Equatable {
        @Nullable public var vision: Int?
        public let head: Int
        public let tail: Int
        public let decode: Int
    }

    public struct ModeStats: Codable, Sendable, Equatable {
        public let stagesMs: [String: Spread]
        public let llmPrefillMs: Spread
        public let ttftMs: Spread
        @Nullable public var decodeMsPerToken: Spread?
        @Nullable public var decodeTokensPerS: Double?
        public let followUpMs: Spread?
        @Nullable public var flops: Flops?
        @Nullable public var kvCacheFilledBytes: Int?
    }

    public struct PairedRatio: Codable, Sendable, Equatable {
        public let median: Double
        public let p10: Double
        public let p90: Double
    }

    public struct Ratios: Codable, Sendable, Equatable {
        public let tail: PairedRatio
        public let llmPrefill: PairedRatio
        public let ttft: PairedRatio
        @Nullable public var decode: PairedRatio?
        public let followUp: PairedRatio?
    }

    public struct Ceilings: Codable, Sendable, Equatable {
        public let llmPrefill: Double
        public let llmPrefillShare: Double
        @Nullable public var ttft: Double?
        @Nullable public var ttftShare: Double?
        public let ttftByTime: Double
        public let ttftByTimeShare: Double
    }

    public struct Memory: Codable, Sendable, Equatable {
        public let measure: String
        @Nullable public var beforeLoadBytes: Int?
        @Nullable public var afterLoadBytes: Int?
        @Nullable public var prunedPeakBytes: Int?
        @Nullable public var unprunedPeakBytes: Int?
        @Nullable public var kvCacheAllocatedBytes: Int?
    }

    public struct Run: Codable, Sendable, Equatable {
        public let round: Int
        public let pruned: Bool
        public let stagesMs: [String: Double]
        public let ttftMs: Double
        public let decodeMs: [Double]
        public let followUpMs: Double?
    }

    public struct Result: Codable, Sendable, Equatable {
        public let bundle: BundleInfo
        public let engine: Engine
        public let images: Int
        public let promptTokens: Int
        public let followUpTokens: Int?
        @Nullable public var loadMs: Double?
        public let unpruned: ModeStats
        public let pruned: ModeStats
        public let ratios: Ratios
        @Nullable public var ceilings: Ceilings?
        public let memory: Memory
        public let runs: [Run]
    }

    /// Returns the record with the state of the battery, which only an app can see.
    public func with(_ battery: Battery) -> BenchmarkRecord {
        var record = self
        record.device.battery = battery
        return record
    }

    /// The record as JSON.
    public func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }

    /// Reads a record, such as a baseline that was kept. Throws `BadRequest` if it is none.
    public init(json: Data) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            self = try decoder.decode(BenchmarkRecord.self, from: json)
        } catch {
            throw BadRequest("this is no benchmark record of version 1")
        }
    }

    init(created: String, tool: Tool, device: Device, settings: Settings, results: [Result]) {
        self.created = created
        self.tool = tool
        self.device = device
        self.settings = settings
        self.results = results
    }
}

/// A field that is always there, and null where its value is not known.
@propertyWrapper
public struct Nullable<Value: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
    public var wrappedValue: Value?

    public init(wrappedValue: Value?) {
        self.wrappedValue = wrappedValue
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        wrappedValue = container.decodeNil() ? nil : try container.decode(Value.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
    }
}
