import Charts
import DemoModel
import SwiftUI

/// One benchmark: its stages as bars, pruned against unpruned, and what the device was like meanwhile.
struct ReportSections: View {
    @Environment(DemoModel.self) private var model
    let report: BenchmarkReport

    var body: some View {
        Section("Times by stage, median") {
            StageChart(report: report)
            ForEach(report.rows) { StageTimes(row: $0, report: report, baseline: model.baselineReport) }
        }
        Section("How many times faster") {
            ForEach(report.speedups, id: \.kind) { SpeedupRow(speedup: $0) }
        }
        Section("Device") {
            if let bytes = report.prunedPeakBytes { LabeledContent("Peak memory, pruned", value: shownBytes(bytes)) }
            if let bytes = report.unprunedPeakBytes {
                LabeledContent("Peak memory, unpruned", value: shownBytes(bytes))
            }
            ForEach(report.disturbances, id: \.self) { Label($0.words, systemImage: "exclamationmark.triangle") }
            if report.disturbances.isEmpty, !report.moments.isEmpty {
                Label("Nothing disturbed this measurement.", systemImage: "checkmark.circle")
            }
            ThermalChart(moments: report.moments)
        }
        Section {
            ShareLink(
                "Share the record (JSON)", item: SharedFile(name: report.id, data: report.json),
                preview: SharePreview(report.bundle))
            ShareLink(
                "Share the table (CSV)", item: SharedFile(name: report.id + ".csv", data: Data(report.csv.utf8)),
                preview: SharePreview(report.bundle))
        }
    }
}

private struct StageChart: View {
    let report: BenchmarkReport

    var body: some View {
        let unpruned = String(localized: "Unpruned")
        let pruned = String(localized: "Pruned")
        Chart {
            ForEach(report.rows) { row in
                if let times = row.unpruned { bar(row, times, unpruned) }
                if let times = row.pruned { bar(row, times, pruned) }
            }
        }
        .chartForegroundStyleScale([unpruned: Color.secondary, pruned: Color.accentColor])
        .chartXAxisLabel("ms")
        .frame(height: CGFloat(44 * report.rows.count + 60))
    }

    private func bar(_ row: StageRow, _ times: Quantiles, _ mode: String) -> some ChartContent {
        BarMark(x: .value("ms", times.p50), y: .value("Stage", shownStage(row.stage)))
            .foregroundStyle(by: .value("Mode", mode))
            .position(by: .value("Mode", mode))
            .accessibilityLabel("\(shownStage(row.stage)), \(mode)")
            .accessibilityValue(shownTime(milliseconds: times.p50))
    }
}

private struct StageTimes: View {
    let row: StageRow
    let report: BenchmarkReport
    let baseline: BenchmarkReport?

    var body: some View {
        VStack(alignment: .leading) {
            Text(shownStage(row.stage)).font(.subheadline)
            line("Unpruned", row.unpruned, pruned: false)
            line("Pruned", row.pruned, pruned: true)
        }
    }

    @ViewBuilder private func line(_ mode: LocalizedStringKey, _ times: Quantiles?, pruned: Bool) -> some View {
        if let times {
            HStack {
                Text(mode)
                Spacer()
                if let change = report.change(of: row, pruned: pruned, from: baseline) {
                    Text(
                        verbatim: (change / 100).formatted(
                            .percent.precision(.fractionLength(0)).sign(strategy: .always()))
                    )
                    .foregroundStyle(change > 0 ? .red : .green)
                }
                Text(
                    "p50 \(shownTime(milliseconds: times.p50)), p90 \(shownTime(milliseconds: times.p90)), least \(shownTime(milliseconds: times.min))"
                )
            }
            .font(.caption)
            .monospacedDigit()
            .foregroundStyle(.secondary)
        }
    }
}

private struct SpeedupRow: View {
    let speedup: Speedup

    var body: some View {
        LabeledContent {
            VStack(alignment: .trailing) {
                Text(verbatim: shownRatio(speedup.measured)).bold()
                if let ceiling = speedup.ceiling {
                    Text("the FLOPs allow \(shownRatio(ceiling))").font(.caption).foregroundStyle(.secondary)
                }
            }
        } label: {
            Text(speedup.kind == .firstToken ? "First token" : "Prefill")
        }
    }
}

private struct ThermalChart: View {
    let moments: [DeviceMoment]

    var body: some View {
        if moments.count > 1 {
            Chart(Array(moments.enumerated()), id: \.offset) { index, moment in
                LineMark(
                    x: .value("Run", index),
                    y: .value("Thermal state", DeviceMoment.Thermal.allCases.firstIndex(of: moment.thermal) ?? 0)
                )
                .interpolationMethod(.stepEnd)
            }
            .chartYScale(domain: 0...3)
            .chartYAxisLabel("Thermal state, 0 nominal to 3 critical")
            .frame(height: 120)
        }
    }
}

extension Disturbance {
    var words: LocalizedStringKey {
        switch self {
        case .ranHot: "The device was hot."
        case .chargingChanged: "The charger was plugged in or out."
        case .lowBattery: "The battery was low."
        case .lowPower: "Low Power Mode was on."
        case .lowMemory: "Memory was short."
        }
    }
}

/// A file that is made when it is shared.
struct SharedFile: Transferable {
    let name: String
    let data: Data

    static var transferRepresentation: some TransferRepresentation {
        DataRepresentation(exportedContentType: .data) { $0.data }
            .suggestedFileName { $0.name }
    }
}
