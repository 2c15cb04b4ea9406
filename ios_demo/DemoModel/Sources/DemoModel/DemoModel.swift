import Foundation
import Observation
import VLMPrune

/// Turns what a person does into state. One thing runs at a time; what runs can be stopped, and nothing is lost by it.
@MainActor @Observable
public final class DemoModel {
    public internal(set) var state: State = .noBundle
    /// What is said about the last action that failed, until it is dismissed.
    public internal(set) var problem: Problem?
    public internal(set) var bundle: BundleSummary?

    public internal(set) var photos: [Photo] = []
    public internal(set) var shownPhoto = 0
    public var question = ""
    public var mode = Mode.pruned
    public internal(set) var turns: [Turn] = []
    public internal(set) var kept: [KeptView] = []
    /// How many of the kept patches of the photo shown are drawn, in the order in which they were chosen.
    public var shownKept = 0

    public internal(set) var entries: [BundleEntry] = []
    public internal(set) var copying: Copying?

    public var pairs = 10
    public var benchmarkQuestion = ""
    public internal(set) var reports: [BenchmarkReport] = []
    public var shownReport: BenchmarkReport.ID?
    public internal(set) var baseline: BenchmarkReport.ID?

    let opener: any Opening
    let device: any DeviceWatch
    let library: BundleLibrary
    let archive: ReportArchive
    let samplePhoto: Photo?
    var answering: (any Answering)?
    /// Whether the caches hold the conversation that is shown.
    var isContinued = false
    private var work: Task<Void, Never>?

    /// `documents` is the folder that a person sees in Files; bundles, images and records lie in it. `compiled` are the
    /// models that go with the bundles.
    public init(
        documents: URL, opener: any Opening, device: any DeviceWatch, samplePhoto: Photo? = nil,
        compiled: CompiledModels? = nil
    ) {
        self.opener = opener
        self.device = device
        self.samplePhoto = samplePhoto
        library = BundleLibrary(documents: documents, compiled: compiled)
        archive = ReportArchive(folder: documents.appending(path: "records"))
    }

    /// Reads what lies on the device, and opens the bundle that was used last, or the only one.
    public func start() async {
        reports = archive.read()
        entries = library.entries()
        do { try library.removeUnusedModels() } catch { problem = Problem(error) }
        let last = library.lastUsed
        guard let entry = entries.first(where: { $0.name == last }) ?? (entries.count == 1 ? entries[0] : nil),
            entry.problem == nil
        else { return }
        open(entry.folder)
        await finish()
    }

    /// Ends what runs: an answer keeps what was said, a benchmark keeps nothing.
    public func stop() {
        work?.cancel()
    }

    /// Waits until nothing runs.
    public func finish() async {
        await work?.value
    }

    public func dismissProblem() {
        problem = nil
    }

    /// Opens the bundle in a folder in place of the one that is open.
    public func open(_ folder: URL) {
        replaceWork { model in await model.load(folder) }
    }

    /// The system is short of memory: what can be had again is given back.
    public func memoryIsShort() {
        guard !state.isBusy else { return }
        replaceWork { model in
            await model.close()
            model.problem = Problem(.lowMemory)
        }
    }

    /// Ends what runs, and starts something else behind it.
    func replaceWork(_ action: @escaping @MainActor (DemoModel) async -> Void) {
        let before = work
        before?.cancel()
        work = Task {
            await before?.value
            await action(self)
        }
    }

    func close() async {
        await answering?.close()
        answering = nil
        bundle = nil
        isContinued = false
        state = .noBundle
    }

    private func load(_ folder: URL) async {
        let name = folder.lastPathComponent
        await close()
        newConversation()
        state = .preparing(name: name, step: .verifying(fraction: 0))
        let (steps, report) = AsyncStream.makeStream(of: LoadStep.self, bufferingPolicy: .bufferingNewest(1))
        let shown = Task {
            for await step in steps { if case .preparing = state { state = .preparing(name: name, step: step) } }
        }
        defer { report.finish() }
        do {
            let opened = try await opener.open(folder) { step in report.yield(step) }
            report.finish()
            await shown.value
            answering = opened
            bundle = opened.summary
            library.lastUsed = folder.lastPathComponent
            state = .ready
        } catch is CancellationError {
            state = .noBundle
        } catch {
            state = .failed(Problem(error))
        }
    }
}
