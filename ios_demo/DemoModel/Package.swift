// swift-tools-version: 6.0
import PackageDescription

var testDependencies: [Target.Dependency] = ["DemoModel"]

// On Linux the tests answer and measure for real, on the runtime's engine for Linux.
#if os(Linux)
testDependencies.append(.product(name: "VLMPruneOnnx", package: "swift"))
#endif

let package = Package(
    name: "DemoModel",
    platforms: [.iOS(.v18), .macOS(.v15)],
    products: [.library(name: "DemoModel", targets: ["DemoModel"])],
    dependencies: [.package(path: "../../runtime/swift")],
    targets: [
        .target(name: "DemoModel", dependencies: [.product(name: "VLMPrune", package: "swift")]),
        .testTarget(name: "DemoModelTests", dependencies: testDependencies),
    ]
)
