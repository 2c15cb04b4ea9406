import DemoModel
import SwiftUI

/// The photo that is shown, the tokens that were kept of it, and the other photos.
struct PhotoStage: View {
    @Environment(DemoModel.self) private var model

    var body: some View {
        VStack(alignment: .leading, spacing: 12) {
            if model.photos.indices.contains(model.shownPhoto) {
                KeptOverlay(photo: model.photos[model.shownPhoto], views: model.keptOfShown, shown: model.shownKept)
                if model.keptCount > 0 { KeptSlider() }
            } else {
                ContentUnavailableView(
                    "No photo yet", systemImage: "photo.badge.plus",
                    description: Text("Choose photos or take one, then ask about them. They stay on this device."))
            }
            HStack {
                PhotoStrip()
                Spacer()
                PhotoButtons()
            }
        }
    }
}

/// Draws how many tokens a person wants to see, in the order in which they were chosen.
private struct KeptSlider: View {
    @Environment(DemoModel.self) private var model

    var body: some View {
        let count = Binding {
            Double(model.shownKept)
        } set: {
            model.shownKept = Int($0.rounded())
        }
        let total = model.keptOfShown.reduce(0) { $0 + $1.visualTokens }
        VStack(alignment: .leading) {
            Slider(value: count, in: 0...Double(model.keptCount), step: 1) {
                Text("Kept tokens that are drawn")
            }
            .accessibilityValue("\(model.shownKept) of \(model.keptCount)")
            Text("The first \(model.shownKept) of \(model.keptCount) kept tokens; the photo has \(total)")
                .font(.caption)
                .foregroundStyle(.secondary)
        }
    }
}

private struct PhotoStrip: View {
    @Environment(DemoModel.self) private var model

    var body: some View {
        ScrollView(.horizontal) {
            HStack {
                ForEach(Array(model.photos.enumerated()), id: \.element.id) { index, photo in
                    Button {
                        model.show(photo: index)
                    } label: {
                        PhotoImage(photo: photo).frame(width: 56, height: 56).clipShape(.rect(cornerRadius: 8))
                            .overlay {
                                RoundedRectangle(cornerRadius: 8)
                                    .strokeBorder(.tint, lineWidth: index == model.shownPhoto ? 3 : 0)
                            }
                    }
                    .contextMenu {
                        Button("Remove", systemImage: "trash", role: .destructive) { model.remove(photo) }
                    }
                    .accessibilityLabel("Photo \(index + 1) of \(model.photos.count)")
                    .accessibilityAddTraits(index == model.shownPhoto ? .isSelected : [])
                    .accessibilityAction(named: "Remove") { model.remove(photo) }
                }
            }
        }
        .scrollIndicators(.hidden)
    }
}
