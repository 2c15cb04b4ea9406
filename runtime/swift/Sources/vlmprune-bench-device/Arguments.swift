import Foundation
import VLMPrune

/// What the command is asked to do.
struct Arguments {
    var bundle = ""
    var images: [String] = []
    var prompt = Benchmark.samplePrompt
    var followUp: String?
    var repetitions = 10
    var warmups = 2
    var tokens: Int?
    var threads: Int?
    var units: ComputeUnits?
    var verify = true
    var out: String?
    var asksForHelp = false

    static let help = """
        usage: vlmprune-bench-device BUNDLE [options]

        Times a bundle pruned and unpruned, in turn, after warm-ups, and prints the record as JSON.
        On a Mac it runs bundles for coreml in Core ML; on Linux bundles for onnx in onnxruntime.

          --image FILE        repeated for several; default: a drawn scene (on Linux: PNG files of 8 bits)
          --prompt TEXT       default: \(Benchmark.samplePrompt)
          --follow-up TEXT    default: \(Benchmark.sampleFollowUp)
          --repetitions N     pairs of runs that count, default 10
          --warmups N         pairs of runs before, default 2
          --tokens N          tokens of every answer, default \(Benchmark.defaultTokens), or what a shorter context has room for
          --threads N         Linux: threads of onnxruntime, default: one per core
          --units UNITS       Mac: ALL, CPU_AND_NE, CPU_AND_GPU or CPU_ONLY; default: the bundle's advice per stage
          --no-verify         do not check the hashes of the bundle's files
          --out FILE          write the record to a file instead
        """

    /// Throws `BadRequest` for an unknown option or a value that is none.
    init(_ words: [String]) throws {
        var words = words[...]
        while let word = words.popFirst() {
            func value() throws -> String {
                guard let value = words.popFirst() else { throw BadRequest("\(word) needs a value") }
                return value
            }
            func number() throws -> Int {
                let text = try value()
                guard let number = Int(text) else {
                    throw BadRequest("\(word): got '\(text)', allowed: a whole number")
                }
                return number
            }
            switch word {
            case "--image": images.append(try value())
            case "--prompt": prompt = try value()
            case "--follow-up": followUp = try value()
            case "--repetitions": repetitions = try number()
            case "--warmups": warmups = try number()
            case "--tokens": tokens = try number()
            case "--threads": threads = try number()
            case "--units": units = try unit(try value())
            case "--no-verify": verify = false
            case "--out": out = try value()
            case "--help", "-h": asksForHelp = true
            default:
                guard !word.hasPrefix("-"), bundle.isEmpty else {
                    throw BadRequest("unknown argument '\(word)'; try --help")
                }
                bundle = word
            }
        }
        guard asksForHelp || !bundle.isEmpty else { throw BadRequest("no bundle was given; try --help") }
    }
}

private func unit(_ text: String) throws -> ComputeUnits {
    guard let unit = ComputeUnits(rawValue: text) else {
        let allowed = ComputeUnits.allCases.map(\.rawValue).joined(separator: ", ")
        throw BadRequest("--units: got '\(text)', allowed: \(allowed)")
    }
    return unit
}
