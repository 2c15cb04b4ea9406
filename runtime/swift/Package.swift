// swift-tools-version: 6.0
import PackageDescription

// Optimised in debug builds too: the bundle's hashes and the image's resampling are part of what the benchmark times.
let optimized: [SwiftSetting] = [.unsafeFlags(["-O"])]

var products: [Product] = [.library(name: "VLMPrune", targets: ["VLMPrune"])]
var testDependencies: [Target.Dependency] = ["VLMPrune", "PictureFiles"]
var benchDependencies: [Target.Dependency] = ["VLMPrune"]
var targets: [Target] = [
    .target(name: "VLMPrune", swiftSettings: optimized),
    .target(name: "PictureFiles", dependencies: ["VLMPrune"], swiftSettings: optimized),
]

// On Linux there is no Core ML; there the loop runs on onnxruntime, so that it is tested for real.
#if os(Linux)
targets += [
    .target(name: "COnnxRuntime"),
    .target(name: "VLMPruneOnnx", dependencies: ["VLMPrune", "COnnxRuntime"], swiftSettings: optimized),
]
products += ["VLMPruneOnnx", "PictureFiles"].map { .library(name: $0, targets: [$0]) }
testDependencies.append("VLMPruneOnnx")
benchDependencies += ["VLMPruneOnnx", "PictureFiles"]
#endif

targets += [
    .executableTarget(name: "vlmprune-bench-device", dependencies: benchDependencies),
    .testTarget(name: "VLMPruneTests", dependencies: testDependencies),
]

let package = Package(
    name: "VLMPrune",
    platforms: [.iOS(.v18), .macOS(.v15)],
    products: products,
    targets: targets
)
