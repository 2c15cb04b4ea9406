import Foundation

/// The question of a benchmark where a person gives none.
public let sampleQuestion = "What is in the picture?"

extension DemoModel {
    public var shown: BenchmarkReport? { reports.first { $0.id == shownReport } }

    /// The report to compare with; a report is not its own baseline.
    public var baselineReport: BenchmarkReport? { reports.first { $0.id == baseline && $0.id != shownReport } }

    public var canMeasure: Bool { state == .ready && (photoToMeasure != nil) }

    private var photoToMeasure: Photo? { photos.indices.contains(shownPhoto) ? photos[shownPhoto] : samplePhoto }

    public func setBaseline(_ id: BenchmarkReport.ID?) {
        baseline = id
    }

    public func delete(report id: BenchmarkReport.ID) {
        do { try archive.delete(id) } catch { problem = Problem(error) }
        reports = archive.read()
        if shownReport == id { shownReport = nil }
        if baseline == id { baseline = nil }
    }

    /// Measures pairs of runs with the photo that is shown, or with the sample.
    public func startBenchmark() {
        guard canMeasure, let photo = photoToMeasure else { return }
        let words = benchmarkQuestion.trimmingCharacters(in: .whitespacesAndNewlines)
        let plan = BenchmarkPlan(photo: photo, question: words.isEmpty ? sampleQuestion : words, pairs: pairs)
        replaceWork { model in
            do {
                model.shownReport = try await model.measure(plan, as: model.archive.newName()) { _ in }
            } catch is CancellationError {
            } catch {
                model.problem = Problem(error)
            }
            model.state = model.answering == nil ? .noBundle : .ready
        }
    }

    /// Measures as launch arguments ask for it, and leaves the record, or one line that says why there is none.
    public func run(_ request: LaunchRequest) async {
        let archive = archive
        archive.tell("loading", of: request.record)
        open(library.folder.appending(path: request.bundle))
        await finish()
        do {
            guard answering != nil else { throw launchFailure() }
            let photo = try photo(named: request.image)
            let plan = BenchmarkPlan(photo: photo, question: request.prompt ?? sampleQuestion, pairs: request.pairs)
            shownReport = try await measure(plan, as: request.record) {
                archive.tell("progress \($0)", of: request.record)
            }
        } catch {
            let told = error as? Problem ?? Problem(error)
            archive.tell("failed \(told.kind.rawValue): \(told.detail)", of: request.record)
        }
        state = answering == nil ? .noBundle : .ready
    }

    private func launchFailure() -> Problem {
        if case .failed(let problem) = state { return problem }
        return Problem(.noBundleInFolder)
    }

    private func photo(named name: String?) throws -> Photo {
        guard let name else { return try samplePhoto ?? { throw Problem(.unreadablePhoto) }() }
        let place = library.folder.deletingLastPathComponent().appending(path: "images").appending(path: name)
        guard let bytes = try? Data(contentsOf: place) else { throw Problem(.unreadablePhoto, name) }
        return Photo(name: name, bytes: bytes)
    }

    private func measure(_ plan: BenchmarkPlan, as name: String, progress: (String) -> Void) async throws -> String {
        guard let answering else { throw Problem(.noBundleInFolder) }
        isContinued = false
        state = .benchmarking(done: 0, total: 2 * (plan.pairs + plan.warmups), waiting: nil)
        var moments = [device.moment()]
        for try await event in answering.benchmark(plan, device: device) {
            switch event {
            case .run(let done, let total):
                state = .benchmarking(done: done, total: total, waiting: nil)
                moments.append(device.moment())
                progress("\(max(0, done / 2 - plan.warmups))/\(plan.pairs)")
            case .waiting(let why):
                if case .benchmarking(let done, let total, _) = state {
                    state = .benchmarking(done: done, total: total, waiting: why)
                }
            case .finished(let json):
                moments.append(device.moment())
                try archive.save(json, moments: moments, as: name)
                reports = archive.read()
                return name
            }
        }
        throw CancellationError()
    }
}
