import DemoModel
import SwiftUI

/// The three screens, and what is said of an action that failed.
struct RootView: View {
    @Environment(DemoModel.self) private var model

    var body: some View {
        TabView {
            Tab("Ask", systemImage: "text.below.photo") { NavigationStack { AskView() } }
            Tab("Benchmark", systemImage: "stopwatch") { NavigationStack { BenchmarkView() } }
            Tab("Bundles", systemImage: "shippingbox") { NavigationStack { BundlesView() } }
        }
        .tabViewStyle(.sidebarAdaptable)
        .alert("This did not work", isPresented: hasProblem, presenting: model.problem) { _ in
            Button("OK", role: .cancel) {}
        } message: { problem in
            Text(problem.sentence)
        }
    }

    private var hasProblem: Binding<Bool> {
        Binding {
            model.problem != nil
        } set: { isShown in
            if !isShown { model.dismissProblem() }
        }
    }
}
