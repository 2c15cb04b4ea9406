import DemoModel
import SwiftUI
import UniformTypeIdentifiers

/// The bundles on the device: open one, copy one here, delete one.
struct BundlesView: View {
    @Environment(DemoModel.self) private var model
    @State private var isPicking = false
    @State private var toDelete: BundleEntry?

    var body: some View {
        List {
            Section {
                ModelBanner()
                if let bytes = model.availableBytes {
                    LabeledContent("Memory that is left for this app", value: shownBytes(bytes)).font(.caption)
                }
            }
            if let copying = model.copying { CopyingRow(copying: copying) }
            Section {
                ForEach(model.entries) { entry in
                    EntryRow(entry: entry)
                        .swipeActions {
                            Button("Delete", systemImage: "trash", role: .destructive) { toDelete = entry }
                        }
                }
            } footer: {
                Text(
                    "A bundle is a folder that vlmprune-export --target coreml has written. Copy it here from Files, share it as a zip file, or put it into this app's folder “bundles” with a Mac."
                )
            }
        }
        .overlay {
            if model.entries.isEmpty, model.copying == nil {
                ContentUnavailableView(
                    "No bundle yet", systemImage: "shippingbox", description: Text("Copy one here from Files."))
            }
        }
        .navigationTitle("Bundles")
        .toolbar {
            ToolbarItem(placement: .primaryAction) {
                Button("Copy a bundle here", systemImage: "plus") { isPicking = true }.disabled(model.copying != nil)
            }
        }
        .refreshable { model.refresh() }
        .onAppear { model.refresh() }
        .fileImporter(isPresented: $isPicking, allowedContentTypes: [.folder, .zip]) { result in
            if case .success(let place) = result { model.importBundle(place) }
        }
        .confirmationDialog(
            "Delete this bundle?", isPresented: isDeleting, titleVisibility: .visible, presenting: toDelete
        ) { entry in
            Button("Delete \(entry.name)", role: .destructive) { model.delete(entry) }
        }
    }

    private var isDeleting: Binding<Bool> {
        Binding {
            toDelete != nil
        } set: { isShown in
            if !isShown { toDelete = nil }
        }
    }
}

private struct EntryRow: View {
    @Environment(DemoModel.self) private var model
    let entry: BundleEntry

    var body: some View {
        Button {
            model.open(entry.folder)
        } label: {
            HStack {
                VStack(alignment: .leading, spacing: 4) {
                    Text(entry.name).font(.headline)
                    if let problem = entry.problem {
                        Text(problem.sentence).font(.caption).foregroundStyle(.red)
                    } else {
                        Text("\(entry.method), \(entry.quantisation), \(shownBytes(entry.sizeBytes))").font(.caption)
                        Text("takes about \(shownBytes(entry.peakMemoryBytes)) of memory")
                            .font(.caption)
                            .foregroundStyle(.secondary)
                    }
                }
                Spacer()
                if model.bundle?.folder.lastPathComponent == entry.name {
                    Image(systemName: "checkmark.circle.fill").foregroundStyle(.tint).accessibilityLabel("Open")
                }
            }
            .frame(minHeight: 44)
        }
        .foregroundStyle(.primary)
        .disabled(entry.problem != nil || model.state.isBusy)
    }
}

private struct CopyingRow: View {
    let copying: Copying

    var body: some View {
        HStack {
            ProgressView(value: Double(copying.doneBytes), total: Double(max(copying.totalBytes, 1))) {
                Text("Copying \(copying.name)")
            }
            StopButton()
        }
    }
}
