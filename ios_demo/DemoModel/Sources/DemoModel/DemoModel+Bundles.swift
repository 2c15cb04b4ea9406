import Foundation

extension DemoModel {
    /// Looks again at what lies on the device, such as bundles that were copied from a Mac.
    public func refresh() {
        entries = library.entries()
    }

    /// Bytes that this app can still take; nil where the system does not say.
    public var availableBytes: Int? { device.availableBytes() }

    /// Copies a bundle from a folder or a zip file and opens it.
    public func importBundle(_ source: URL) {
        replaceWork { model in await model.copy(source) }
    }

    public func delete(_ entry: BundleEntry) {
        replaceWork { model in
            if model.bundle?.folder.lastPathComponent == entry.name { await model.close() }
            do { try model.library.delete(entry.folder) } catch { model.problem = Problem(error) }
            model.refresh()
        }
    }

    private func copy(_ source: URL) async {
        let library = library
        let (parts, report) = AsyncStream.makeStream(of: Copying.self, bufferingPolicy: .bufferingNewest(1))
        let shown = Task { for await part in parts { copying = part } }
        let copied = Task.detached {
            let isZip = source.pathExtension.lowercased() == "zip"
            let isOpened = source.startAccessingIfNeeded()
            defer { if isOpened { source.stopAccessing() } }
            return isZip
                ? try library.unpack(source) { part in report.yield(part) }
                : try library.copy(from: source) { part in report.yield(part) }
        }
        let result = await withTaskCancellationHandler {
            await copied.result
        } onCancel: {
            copied.cancel()
        }
        report.finish()
        await shown.value
        copying = nil
        refresh()
        switch result {
        case .success(let folder): open(folder)
        case .failure(is CancellationError): break
        case .failure(let error): problem = Problem(error)
        }
    }
}

extension URL {
    /// Opens what a person picked outside the app's own folder; elsewhere nothing has to be opened.
    func startAccessingIfNeeded() -> Bool {
        #if os(Linux)
        false
        #else
        startAccessingSecurityScopedResource()
        #endif
    }

    func stopAccessing() {
        #if !os(Linux)
        stopAccessingSecurityScopedResource()
        #endif
    }
}
