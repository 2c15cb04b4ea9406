import DemoModel
import SwiftUI

/// A photo with its kept tokens: what was dropped is dimmed, and what was kept is coloured by the order of the choice.
struct KeptOverlay: View {
    let photo: Photo
    let views: [KeptView]
    let shown: Int

    var body: some View {
        PhotoImage(photo: photo, isWhole: true)
            .overlay {
                Canvas { context, size in draw(context, size) }.accessibilityHidden(true)
            }
            .clipShape(.rect(cornerRadius: 12))
            .frame(maxHeight: 420)
            .accessibilityElement()
            .accessibilityLabel(views.isEmpty ? "Photo" : "Photo with its kept tokens")
    }

    private func draw(_ context: GraphicsContext, _ size: CGSize) {
        guard shown > 0 else { return }
        var left = shown
        for view in views {
            let patches = view.patches.prefix(max(0, left))
            left -= view.patches.count
            var dropped = Path(rect(view.seen, size))
            for patch in patches { dropped.addRect(rect(patch, size)) }
            context.fill(dropped, with: .color(.black.opacity(0.55)), style: FillStyle(eoFill: true))
            for (rank, patch) in patches.enumerated() {
                let share = Double(rank) / Double(max(1, view.patches.count - 1))
                let colour = Color(hue: 0.13 + 0.45 * share, saturation: 0.85, brightness: 0.95)
                context.stroke(Path(rect(patch, size)), with: .color(colour), lineWidth: 2)
            }
        }
    }

    private func rect(_ area: Area, _ size: CGSize) -> CGRect {
        CGRect(
            x: area.left * size.width, y: area.top * size.height, width: (area.right - area.left) * size.width,
            height: (area.bottom - area.top) * size.height)
    }
}

/// A photo as it lies before a person; it is decoded off the main thread and no larger than the screen needs.
struct PhotoImage: View {
    let photo: Photo
    var isWhole = false
    @State private var image: UIImage?

    var body: some View {
        Group {
            if let image {
                Image(uiImage: image).resizable().aspectRatio(contentMode: isWhole ? .fit : .fill)
            } else {
                Rectangle().fill(.quaternary).aspectRatio(4 / 3, contentMode: .fit)
            }
        }
        .task(id: photo.id) {
            let (bytes, side) = (photo.bytes, isWhole ? 1600 : 200)
            image = await Task.detached { preview(of: bytes, longestSide: side) }.value
        }
    }
}
