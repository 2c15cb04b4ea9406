import Foundation

/// The text on the screen is redrawn this often at most: redrawing it for each token would slow the tokens down.
private let redrawInterval = Duration.milliseconds(150)

extension DemoModel {
    /// What was kept of the photo that is shown, one entry for each view of it.
    public var keptOfShown: [KeptView] { kept.filter { $0.photo == shownPhoto } }

    /// How many tokens of the photo shown were kept, in all its views.
    public var keptCount: Int { keptOfShown.reduce(0) { $0 + $1.patches.count } }

    /// Whether the question can be asked now.
    public var canAsk: Bool {
        guard case .ready = state else { return false }
        return !question.trimmingCharacters(in: .whitespacesAndNewlines).isEmpty && !photos.isEmpty
    }

    /// How many photos there is room for beside those that are there; nil where the bundle sets no number.
    public var mostNewPhotos: Int? { bundle?.maxPhotos.map { max(1, $0 - photos.count) } }

    /// Adds photos behind those that are there; a conversation about fewer photos ends.
    public func add(_ added: [Photo]) {
        guard !added.isEmpty else { return }
        photos += added
        newConversation()
        shownPhoto = photos.count - added.count
    }

    public func remove(_ photo: Photo) {
        photos.removeAll { $0.id == photo.id }
        newConversation()
        shownPhoto = max(0, min(shownPhoto, photos.count - 1))
    }

    public func show(photo index: Int) {
        guard photos.indices.contains(index) else { return }
        shownPhoto = index
        shownKept = keptCount
    }

    public func noCamera() {
        problem = Problem(.noCamera)
    }

    public func unreadable(_ name: String) {
        problem = Problem(.unreadablePhoto, name)
    }

    public func newConversation() {
        turns = []
        kept = []
        shownKept = 0
        isContinued = false
    }

    /// Asks the question, in both modes in turn where they are compared; behind an answer it goes on with the caches.
    public func ask() {
        guard canAsk else { return }
        let text = question.trimmingCharacters(in: .whitespacesAndNewlines)
        replaceWork { model in await model.answer(text) }
    }

    private func answer(_ text: String) async {
        guard let answering else { return }
        var goesOn = isContinued && !turns.isEmpty
        if goesOn { goesOn = await answering.canFollowUp() }
        let runs = goesOn ? [turns.last?.answers.last?.isPruned ?? true] : mode.runs
        turns.append(Turn(question: text, runs: runs))
        question = ""
        for (nth, prune) in runs.enumerated() {
            state = .answering(stage: nil, pruned: prune)
            let events = goesOn ? answering.followUp(text) : answering.ask(text, photos: photos, prune: prune)
            await take(events, into: nth, pruned: prune)
            if Task.isCancelled { break }
        }
        isContinued = true
        state = .ready
    }

    private func take(_ events: AsyncThrowingStream<AnswerEvent, any Error>, into nth: Int, pruned: Bool) async {
        var text = ""
        var drawn: ContinuousClock.Instant?
        do {
            for try await event in events {
                switch event {
                case .stage(let name): state = .answering(stage: name, pruned: pruned)
                case .kept(let view): show(view)
                case .text(let piece):
                    text += piece
                    let now = ContinuousClock.now
                    guard drawn.map({ now - $0 >= redrawInterval }) ?? true else { continue }
                    drawn = now
                    change(nth) { ($0.text, $0.phase) = (text, .streaming) }
                case .finished(var measured, let whole, let isCut):
                    measured.peakBytes = device.peakBytes()
                    change(nth) { ($0.text, $0.phase, $0.measured) = (whole, .done(isCut: isCut), measured) }
                }
            }
            if Task.isCancelled { stopOpenAnswers(text, nth) }
        } catch is CancellationError {
            stopOpenAnswers(text, nth)
        } catch {
            change(nth) { ($0.text, $0.phase) = (text, .failed(Problem(error))) }
        }
    }

    private func change(_ nth: Int, _ changed: (inout Answer) -> Void) {
        guard !turns.isEmpty, turns[turns.count - 1].answers.indices.contains(nth) else { return }
        changed(&turns[turns.count - 1].answers[nth])
    }

    /// Marks what is not finished as stopped, and keeps what was said.
    private func stopOpenAnswers(_ text: String, _ nth: Int) {
        guard let answers = turns.last?.answers else { return }
        for (index, answer) in answers.enumerated() where answer.isOpen {
            change(index) { ($0.text, $0.phase) = (index == nth ? text : $0.text, .stopped) }
        }
    }

    private func show(_ view: KeptView) {
        kept.removeAll { $0.photo == view.photo && $0.seen == view.seen }
        kept.append(view)
        shownKept = keptCount
    }
}
