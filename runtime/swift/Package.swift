// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "VLMPrune",
    platforms: [.iOS(.v18), .macOS(.v15)],
    products: [.library(name: "VLMPrune", targets: ["VLMPrune"])],
    targets: [
        .target(name: "VLMPrune"),
        .target(name: "PictureFiles", dependencies: ["VLMPrune"]),
        .testTarget(name: "VLMPruneTests", dependencies: ["VLMPrune", "PictureFiles"]),
    ]
)
