import DemoModel
import SwiftUI

/// Says which bundle is open, or how far it is on its way.
struct ModelBanner: View {
    @Environment(DemoModel.self) private var model

    var body: some View {
        switch model.state {
        case .noBundle:
            Label("Choose a bundle first, in Bundles.", systemImage: "shippingbox")
                .foregroundStyle(.secondary)
        case .preparing(let name, let step):
            PreparingRow(name: name, step: step)
        case .failed(let problem):
            Label(problem.sentence, systemImage: "exclamationmark.triangle")
                .foregroundStyle(.red)
        case .ready, .answering, .benchmarking:
            if let bundle = model.bundle { BundleRow(bundle: bundle) }
        }
    }
}

private struct BundleRow: View {
    let bundle: BundleSummary

    var body: some View {
        HStack {
            Label(bundle.name, systemImage: "shippingbox.fill").lineLimit(1)
            Spacer()
            Text("\(bundle.keptTokens) of \(bundle.visualTokens) visual tokens kept")
                .font(.caption)
                .foregroundStyle(.secondary)
        }
        .accessibilityElement(children: .combine)
    }
}

private struct PreparingRow: View {
    @Environment(DemoModel.self) private var model
    let name: String
    let step: LoadStep

    var body: some View {
        HStack {
            VStack(alignment: .leading) {
                Text(name)
                switch step {
                case .verifying(let fraction):
                    ProgressView(value: fraction) { Text("Checking the files") }
                case .loading(let stage, let nth, let stages):
                    ProgressView(value: Double(nth), total: Double(max(stages, 1))) {
                        Text("Compiling for this device, once: \(shownStage(stage))")
                    }
                case .warmingUp:
                    ProgressView { Text("Warming up") }
                }
            }
            .font(.callout)
            StopButton()
        }
    }
}

/// Ends what runs.
struct StopButton: View {
    @Environment(DemoModel.self) private var model

    var body: some View {
        Button(role: .destructive) {
            model.stop()
        } label: {
            Image(systemName: "stop.circle.fill").font(.title2)
        }
        .frame(minWidth: 44, minHeight: 44)
        .accessibilityLabel("Stop")
    }
}
