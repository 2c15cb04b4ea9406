extension DemoModel {
    /// Where the app stands; every screen shows it.
    public enum State: Equatable, Sendable {
        /// No bundle is chosen.
        case noBundle
        /// A bundle is on its way to answering.
        case preparing(name: String, step: LoadStep)
        /// A question can be asked, or a benchmark begun.
        case ready
        /// An answer is on its way; `stage` is the last one that has run.
        case answering(stage: String?, pruned: Bool)
        /// A benchmark runs: `done` of `total` runs are over.
        case benchmarking(done: Int, total: Int, waiting: Waiting?)
        /// The bundle could not be opened.
        case failed(Problem)

        /// Whether something runs that can be stopped.
        public var isBusy: Bool {
            switch self {
            case .preparing, .answering, .benchmarking: true
            case .noBundle, .ready, .failed: false
            }
        }
    }
}

/// A step on the way to an answering bundle; fractions are those of the step.
public enum LoadStep: Equatable, Sendable {
    case verifying(fraction: Double)
    /// The system compiles the graphs for this device, which it does once.
    case loading(stage: String, nth: Int, stages: Int)
    case warmingUp(pruned: Bool)
}

/// Why the next run of a benchmark has not begun: the device is hot, or its charger was just plugged in or out.
public enum Waiting: Equatable, Sendable { case hot, chargingChanged }

/// The modes of the Ask screen.
public enum Mode: String, CaseIterable, Sendable {
    case pruned, unpruned, both

    /// Without pruning first, so that a further question goes on with the pruned caches.
    var runs: [Bool] {
        switch self {
        case .pruned: [true]
        case .unpruned: [false]
        case .both: [false, true]
        }
    }
}
