import DemoModel
import Foundation

extension Problem {
    /// What is wrong and what to do about it.
    var sentence: String {
        switch kind {
        case .oldBundle: String(localized: "This bundle was exported by an older version of vlmprune. Export it again.")
        case .newBundle: String(localized: "This bundle was exported by a newer version of vlmprune. Update this app.")
        case .corruptBundle: String(localized: "This bundle is damaged. Copy it again. (\(detail))")
        case .wrongTarget:
            String(localized: "This bundle is not for iPhones. Export it with --target coreml. (\(detail))")
        case .noBundleInFolder:
            String(localized: "There is no bundle here: a bundle is a folder with a bundle.json. (\(detail))")
        case .lowMemory:
            String(localized: "There is too little memory. Close other apps, or use a smaller bundle. \(detail)")
        case .noSpace:
            String(localized: "There is too little space on this device. Delete something first. (\(detail))")
        case .unreadablePhoto: String(localized: "This photo cannot be read. Choose another one. (\(detail))")
        case .unreadableFile: String(localized: "This file cannot be read. (\(detail))")
        case .noCamera: String(localized: "The camera cannot be used. Choose a photo instead.")
        case .refusedRequest: String(localized: "This cannot be asked: \(detail)")
        case .engineFailed: String(localized: "The model failed: \(detail)")
        }
    }
}
