import AVFoundation
import DemoModel
import PhotosUI
import SwiftUI

/// Chooses photos or takes one; the picker runs in its own process, so no permission for the library is needed.
struct PhotoButtons: View {
    @Environment(DemoModel.self) private var model
    @State private var picked: [PhotosPickerItem] = []
    @State private var isTaking = false

    var body: some View {
        HStack {
            PhotosPicker(selection: $picked, maxSelectionCount: model.mostNewPhotos, matching: .images) {
                Label("Choose photos", systemImage: "photo.on.rectangle.angled").labelStyle(.iconOnly).font(.title2)
            }
            .frame(minWidth: 44, minHeight: 44)
            Button {
                Task { await takePhoto() }
            } label: {
                Label("Take a photo", systemImage: "camera").labelStyle(.iconOnly).font(.title2)
            }
            .frame(minWidth: 44, minHeight: 44)
        }
        .disabled(model.state.isBusy)
        .onChange(of: picked) { Task { await load() } }
        .fullScreenCover(isPresented: $isTaking) {
            CameraPicker { bytes in
                isTaking = false
                if let bytes { model.add([Photo(name: "camera.jpg", bytes: bytes)]) }
            }
            .ignoresSafeArea()
        }
    }

    private func load() async {
        let items = picked
        guard !items.isEmpty else { return }
        picked = []
        var photos: [Photo] = []
        for (nth, item) in items.enumerated() {
            let name = item.itemIdentifier ?? "photo-\(nth + 1)"
            guard let bytes = try? await item.loadTransferable(type: Data.self) else {
                model.unreadable(name)
                continue
            }
            photos.append(Photo(name: name, bytes: bytes))
        }
        model.add(photos)
    }

    private func takePhoto() async {
        guard UIImagePickerController.isSourceTypeAvailable(.camera), await AVCaptureDevice.requestAccess(for: .video)
        else {
            model.noCamera()
            return
        }
        isTaking = true
    }
}

/// The system's camera.
private struct CameraPicker: UIViewControllerRepresentable {
    let done: (Data?) -> Void

    func makeUIViewController(context: Context) -> UIImagePickerController {
        let picker = UIImagePickerController()
        picker.sourceType = .camera
        picker.delegate = context.coordinator
        return picker
    }

    func updateUIViewController(_ picker: UIImagePickerController, context: Context) {}

    func makeCoordinator() -> Coordinator { Coordinator(done) }

    final class Coordinator: NSObject, UIImagePickerControllerDelegate, UINavigationControllerDelegate {
        private let done: (Data?) -> Void

        init(_ done: @escaping (Data?) -> Void) { self.done = done }

        func imagePickerController(
            _ picker: UIImagePickerController,
            didFinishPickingMediaWithInfo info: [UIImagePickerController.InfoKey: Any]
        ) {
            done((info[.originalImage] as? UIImage)?.jpegData(compressionQuality: 0.95))
        }

        func imagePickerControllerDidCancel(_ picker: UIImagePickerController) { done(nil) }
    }
}
