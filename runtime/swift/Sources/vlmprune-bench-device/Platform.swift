import Foundation
import VLMPrune

#if canImport(CoreML)
/// Returns the engine of this platform, and says on standard error what it does.
func loadEngine(_ bundle: VLMPrune.Bundle, _ arguments: Arguments) async throws -> any Engine {
    note("engine: Core ML; the first loading on a machine compiles for it, once")
    return try await CoreMLEngine(bundle, units: arguments.units) { step in
        note("loading \(step.stage), \(step.done + 1) of \(step.total)")
    }
}

func decodePicture(_ bytes: [UInt8]) throws -> Picture { try Picture(imageData: Data(bytes)) }
#else
import PictureFiles
import VLMPruneOnnx

/// Returns the engine of this platform, and says on standard error what it does.
func loadEngine(_ bundle: VLMPrune.Bundle, _ arguments: Arguments) async throws -> any Engine {
    note("engine: onnxruntime on the CPU, for there is no Core ML on Linux; these times are no Apple device's")
    return try OnnxEngine(bundle, threads: arguments.threads ?? 0)
}

func decodePicture(_ bytes: [UInt8]) throws -> Picture { try decodePNG(bytes).upright() }
#endif

/// Writes a line to standard error, where it does not mix with the record.
func note(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

/// A scene of 640 x 480 pixels, the same everywhere: boxes of several colours before a sky that darkens upwards.
func drawnScene() throws -> Picture {
    let boxes: [(left: Int, top: Int, width: Int, height: Int, colour: [UInt8])] = [
        (0, 360, 640, 120, [96, 140, 80]), (80, 240, 160, 140, [200, 60, 50]), (330, 180, 240, 200, [235, 190, 60]),
        (380, 220, 60, 60, [70, 110, 190]), (480, 220, 60, 60, [70, 110, 190]), (40, 40, 70, 70, [250, 240, 200]),
    ]
    var rgb: [UInt8] = []
    for y in 0..<480 {
        for x in 0..<640 {
            let box = boxes.last {
                ($0.left..<$0.left + $0.width).contains(x) && ($0.top..<$0.top + $0.height).contains(y)
            }
            rgb += box?.colour ?? [UInt8(110 + y / 5), UInt8(150 + y / 6), 235]
        }
    }
    return try Picture(width: 640, height: 480, rgb: rgb)
}
