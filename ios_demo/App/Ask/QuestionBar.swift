import DemoModel
import SwiftUI

/// Where a question is typed or chosen.
struct QuestionBar: View {
    @Environment(DemoModel.self) private var model
    @FocusState private var isTyping: Bool

    var body: some View {
        @Bindable var model = model
        VStack(spacing: 8) {
            Picker("Mode", selection: $model.mode) {
                Text("Pruned").tag(Mode.pruned)
                Text("Unpruned").tag(Mode.unpruned)
                Text("Both").tag(Mode.both)
            }
            .pickerStyle(.segmented)
            HStack {
                Menu {
                    ForEach(suggestions, id: \.self) { words in Button(words) { model.question = words } }
                } label: {
                    Label("Questions to choose from", systemImage: "text.bubble").labelStyle(.iconOnly).font(.title2)
                }
                .frame(minWidth: 44, minHeight: 44)
                TextField(
                    model.turns.isEmpty ? "Ask about the photo" : "Ask further", text: $model.question, axis: .vertical
                )
                .lineLimit(1...4)
                .textFieldStyle(.roundedBorder)
                .focused($isTyping)
                .submitLabel(.send)
                .onSubmit(ask)
                if case .answering = model.state {
                    StopButton()
                } else {
                    Button(action: ask) { Image(systemName: "arrow.up.circle.fill").font(.title) }
                        .frame(minWidth: 44, minHeight: 44)
                        .disabled(!model.canAsk)
                        .accessibilityLabel("Ask")
                }
            }
        }
        .padding()
        .background(.bar)
    }

    private var suggestions: [String] {
        ["What is in the picture?", "How many objects are there?", "What is on the left?"]
    }

    private func ask() {
        isTyping = false
        model.ask()
    }
}
