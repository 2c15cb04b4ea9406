import DemoModel
import SwiftUI

/// Measures the open bundle, and keeps what was measured before.
struct BenchmarkView: View {
    @Environment(DemoModel.self) private var model

    var body: some View {
        @Bindable var model = model
        Form {
            Section { ModelBanner() }
            Section {
                Stepper("\(model.pairs) pairs of runs", value: $model.pairs, in: 1...100)
                TextField("Question", text: $model.benchmarkQuestion, prompt: Text(verbatim: sampleQuestion))
                Text(model.photos.isEmpty ? "With the sample photo" : "With the photo that is shown in Ask")
                    .font(.caption)
                    .foregroundStyle(.secondary)
                control
            } header: {
                Text("Pruned and unpruned in turn, after two warm-up pairs")
            }
            if let report = model.shown { ReportSections(report: report) }
            if !model.reports.isEmpty {
                Section("Measured before") { ForEach(model.reports) { ReportRow(report: $0) } }
            }
        }
        .navigationTitle("Benchmark")
    }

    @ViewBuilder private var control: some View {
        if case .benchmarking(let done, let total, let waiting) = model.state {
            HStack {
                ProgressView(value: Double(done), total: Double(max(total, 1))) {
                    Text(words(of: waiting, done, total))
                }
                StopButton()
            }
        } else {
            Button("Measure", systemImage: "play.fill") { model.startBenchmark() }
                .disabled(!model.canMeasure)
                .frame(minHeight: 44)
        }
    }

    private func words(of waiting: Waiting?, _ done: Int, _ total: Int) -> String {
        switch waiting {
        case .hot: String(localized: "Waiting until the device has cooled down")
        case .chargingChanged: String(localized: "Waiting: the charger was plugged in or out")
        case nil: String(localized: "Run \(done) of \(total)")
        }
    }
}

private struct ReportRow: View {
    @Environment(DemoModel.self) private var model
    let report: BenchmarkReport

    var body: some View {
        Button {
            model.shownReport = report.id
        } label: {
            HStack {
                VStack(alignment: .leading) {
                    Text(report.bundle)
                    Text(report.created).font(.caption).foregroundStyle(.secondary)
                }
                Spacer()
                if let speedup = report.speedups.first {
                    Text(verbatim: shownRatio(speedup.measured)).monospacedDigit()
                }
                if model.baseline == report.id { Image(systemName: "flag.fill").accessibilityLabel("Baseline") }
            }
        }
        .foregroundStyle(.primary)
        .swipeActions {
            Button("Delete", systemImage: "trash", role: .destructive) { model.delete(report: report.id) }
            Button("Baseline", systemImage: "flag") { model.setBaseline(model.baseline == report.id ? nil : report.id) }
        }
    }
}

func shownRatio(_ ratio: Double) -> String {
    ratio.formatted(.number.precision(.fractionLength(2))) + "×"
}
