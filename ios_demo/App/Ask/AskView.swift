import DemoModel
import SwiftUI

/// Photos, the conversation about them, and which of their tokens were kept.
struct AskView: View {
    @Environment(DemoModel.self) private var model
    @Environment(\.horizontalSizeClass) private var width

    var body: some View {
        Group {
            if width == .regular {
                HStack(alignment: .top, spacing: 24) {
                    ScrollView { PhotoStage() }
                    conversation
                }
            } else {
                conversation
            }
        }
        .padding(.horizontal)
        .navigationTitle("Ask")
        .toolbar {
            ToolbarItem(placement: .primaryAction) {
                Button("New conversation", systemImage: "square.and.pencil") { model.newConversation() }
                    .disabled(model.turns.isEmpty || model.state.isBusy)
            }
        }
        .safeAreaInset(edge: .bottom) { QuestionBar() }
    }

    private var conversation: some View {
        ScrollViewReader { scroll in
            ScrollView {
                VStack(alignment: .leading, spacing: 16) {
                    ModelBanner()
                    if width != .regular { PhotoStage() }
                    ForEach(model.turns) { TurnView(turn: $0) }
                    Color.clear.frame(height: 1).id("end")
                }
                .frame(maxWidth: .infinity, alignment: .leading)
            }
            .onChange(of: model.turns.count) { withAnimation { scroll.scrollTo("end") } }
        }
    }
}
