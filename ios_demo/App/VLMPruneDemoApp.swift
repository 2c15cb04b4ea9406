import DemoModel
import SwiftUI
import VLMPrune

@main
struct VLMPruneDemoApp: App {
    @State private var model = DemoModel(
        documents: .documentsDirectory, opener: coreMLOpening(), device: PhoneWatch(),
        samplePhoto: samplePhoto(), compiled: try? CompiledModels.inCaches())

    var body: some Scene {
        WindowGroup {
            RootView()
                .environment(model)
                .task { await begin() }
                .onOpenURL { model.importBundle($0) }
                .onReceive(NotificationCenter.default.publisher(for: UIApplication.didReceiveMemoryWarningNotification))
            { _ in
                model.memoryIsShort()
            }
        }
    }

    /// Opens the last bundle, or measures what launch arguments ask for; a phone that sleeps would not finish that.
    private func begin() async {
        guard let request = LaunchRequest(CommandLine.arguments) else {
            await model.start()
            return
        }
        UIApplication.shared.isIdleTimerDisabled = true
        await model.run(request)
        UIApplication.shared.isIdleTimerDisabled = false
    }
}

private func samplePhoto() -> Photo? {
    guard let place = Foundation.Bundle.main.url(forResource: "sample", withExtension: "jpg"),
        let bytes = try? Data(contentsOf: place)
    else { return nil }
    return Photo(name: "sample.jpg", bytes: bytes)
}

/// Opens bundles with Core ML, which compiles their graphs for this device when it sees them for the first time.
private func coreMLOpening() -> RunnerOpening {
    RunnerOpening(
        decoder: { bytes in try Picture(imageData: bytes) }, targets: [.coreml],
        availableBytes: { ProcessMemory.availableBytes },
        makeEngine: { bundle, progress in
            try await CoreMLEngine(bundle) { step in
                progress(.loading(stage: step.stage, nth: step.done, stages: step.total))
            }
        })
}
