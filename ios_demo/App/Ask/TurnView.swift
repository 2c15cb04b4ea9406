import DemoModel
import SwiftUI

/// A question and its answers; two stand side by side where there is room.
struct TurnView: View {
    @Environment(\.dynamicTypeSize) private var textSize
    let turn: Turn

    var body: some View {
        VStack(alignment: .leading, spacing: 8) {
            Text(turn.question).font(.headline)
            let layout =
                textSize.isAccessibilitySize
                ? AnyLayout(VStackLayout(alignment: .leading)) : AnyLayout(HStackLayout(alignment: .top))
            layout {
                ForEach(Array(turn.answers.enumerated()), id: \.offset) { _, answer in
                    AnswerCard(answer: answer, question: turn.question)
                }
            }
            if let seconds = turn.savedSeconds {
                let time = shownTime(milliseconds: abs(seconds) * 1000)
                Label {
                    seconds >= 0
                        ? Text("Pruned, the first word came \(time) sooner")
                        : Text("Pruned, the first word came \(time) later")
                } icon: {
                    Image(systemName: "bolt.fill")
                }
                .font(.subheadline.bold())
                .foregroundStyle(.tint)
            }
        }
    }
}

private struct AnswerCard: View {
    let answer: Answer
    let question: String

    var body: some View {
        VStack(alignment: .leading, spacing: 8) {
            Text(answer.isPruned ? "Pruned" : "Unpruned").font(.caption.bold()).foregroundStyle(.secondary)
            content
            if let measured = answer.measured { MeasuredView(measured: measured) }
        }
        .frame(maxWidth: .infinity, alignment: .leading)
        .padding(12)
        .background(.fill.quaternary, in: .rect(cornerRadius: 12))
        .contextMenu {
            Button("Copy", systemImage: "doc.on.doc") { UIPasteboard.general.string = answer.text }
            ShareLink(item: "\(question)\n\(answer.text)")
        }
    }

    @ViewBuilder private var content: some View {
        switch answer.phase {
        case .waiting: ProgressView().accessibilityLabel("Waiting for the first word")
        case .streaming: Text(answer.text)
        case .done(let isCut):
            Text(answer.text.isEmpty ? String(localized: "(an empty answer)") : answer.text).textSelection(.enabled)
            if isCut { Text("The answer had no room for more.").font(.caption).foregroundStyle(.secondary) }
        case .stopped:
            Text(answer.text)
            Text("Stopped").font(.caption).foregroundStyle(.secondary)
        case .failed(let problem):
            Label(problem.sentence, systemImage: "exclamationmark.triangle").foregroundStyle(.red)
        }
    }
}

/// What an answer took, stage by stage.
private struct MeasuredView: View {
    let measured: Measured
    @State private var isOpen = false

    var body: some View {
        DisclosureGroup(isExpanded: $isOpen) {
            Grid(alignment: .leadingFirstTextBaseline, verticalSpacing: 2) {
                ForEach(Array(measured.stages.enumerated()), id: \.offset) { _, stage in
                    GridRow {
                        Text(shownStage(stage.stage))
                        Text(shownTime(milliseconds: stage.milliseconds)).gridColumnAlignment(.trailing)
                            .monospacedDigit()
                    }
                }
                Divider()
                row("In all", shownTime(milliseconds: measured.totalMs))
                row("Prompt tokens run", "\(measured.prefilledTokens)")
                row("Answer tokens", "\(measured.tokens)")
                if let rate = measured.tokensPerSecond {
                    row("Tokens per second", rate.formatted(.number.precision(.fractionLength(1))))
                }
                if let bytes = measured.peakBytes { row("Peak memory", shownBytes(bytes)) }
            }
            .font(.caption)
        } label: {
            Text("First word after \(shownTime(milliseconds: measured.firstTokenMs))").font(.caption)
        }
    }

    private func row(_ name: LocalizedStringKey, _ value: String) -> some View {
        GridRow {
            Text(name)
            Text(value).monospacedDigit()
        }
    }
}
