import Foundation

/// What happens while a question is answered.
public enum AnswerEvent: Equatable, Sendable {
    case stage(String)
    case kept(KeptView)
    case text(String)
    case finished(Measured, text: String, isCut: Bool)
}

/// What the screens say of an open bundle.
public struct BundleSummary: Equatable, Sendable {
    public let name: String
    public let folder: URL
    public let target: String
    public let quantisation: String
    public let keptTokens: Int
    public let visualTokens: Int
    /// How many photos a question has room for; nil where the bundle sets no number.
    public let maxPhotos: Int?
    public let hasFollowUps: Bool

    public init(
        name: String, folder: URL, target: String, quantisation: String, keptTokens: Int, visualTokens: Int,
        maxPhotos: Int?, hasFollowUps: Bool
    ) {
        (self.name, self.folder, self.target, self.quantisation) = (name, folder, target, quantisation)
        (self.keptTokens, self.visualTokens) = (keptTokens, visualTokens)
        (self.maxPhotos, self.hasFollowUps) = (maxPhotos, hasFollowUps)
    }
}

/// An open bundle: what the model needs of the runtime's runner.
public protocol Answering: Sendable {
    var summary: BundleSummary { get }
    /// Whether a question can go on behind the last answer.
    func canFollowUp() async -> Bool
    func ask(_ question: String, photos: [Photo], prune: Bool) -> AsyncThrowingStream<AnswerEvent, any Error>
    func followUp(_ question: String) -> AsyncThrowingStream<AnswerEvent, any Error>
    func benchmark(_ plan: BenchmarkPlan, device: any DeviceWatch) -> AsyncThrowingStream<BenchmarkEvent, any Error>
    func close() async
}

/// Opens bundles.
public protocol Opening: Sendable {
    /// Opens, loads and warms up the bundle in a folder, and refuses one for which the device has too little memory.
    func open(_ folder: URL, progress: @escaping @Sendable (LoadStep) -> Void) async throws -> any Answering
}

/// What is known of the device.
public protocol DeviceWatch: Sendable {
    /// Bytes that this app can still take before the system ends it; nil where the system does not say.
    func availableBytes() -> Int?
    /// The largest memory of this app so far.
    func peakBytes() -> Int?
    @MainActor func moment() -> DeviceMoment
}

/// The device as it is now.
public struct DeviceMoment: Equatable, Sendable, Codable {
    public enum Thermal: String, Sendable, Codable, CaseIterable { case nominal, fair, serious, critical }

    public let seconds: Double
    public let memoryBytes: Int?
    public let availableBytes: Int?
    public let batteryFraction: Double?
    public let isCharging: Bool?
    public let thermal: Thermal
    public let isLowPower: Bool

    public init(
        seconds: Double, memoryBytes: Int?, availableBytes: Int?, batteryFraction: Double?, isCharging: Bool?,
        thermal: Thermal, isLowPower: Bool
    ) {
        (self.seconds, self.memoryBytes, self.availableBytes) = (seconds, memoryBytes, availableBytes)
        (self.batteryFraction, self.isCharging) = (batteryFraction, isCharging)
        (self.thermal, self.isLowPower) = (thermal, isLowPower)
    }

    /// Whether a run that begins now would be slowed down by heat.
    public var isHot: Bool { thermal == .serious || thermal == .critical }
}
