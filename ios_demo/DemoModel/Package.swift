// swift-tools-version: 6.0
import PackageDescription

var dependencies: [Target.Dependency] = [.product(name: "VLMPrune", package: "swift")]
var testDependencies: [Target.Dependency] = ["DemoModel"]

// On Linux zip files are inflated by the runtime, and the tests answer and measure for real, on its engine for Linux.
#if os(Linux)
dependencies.append(.product(name: "PictureFiles", package: "swift"))
testDependencies.append(.product(name: "VLMPruneOnnx", package: "swift"))
#endif

let package = Package(
    name: "DemoModel",
    platforms: [.iOS(.v18), .macOS(.v15)],
    products: [.library(name: "DemoModel", targets: ["DemoModel"])],
    dependencies: [.package(path: "../../runtime/swift")],
    targets: [
        .target(name: "DemoModel", dependencies: dependencies),
        .testTarget(name: "DemoModelTests", dependencies: testDependencies),
    ]
)
