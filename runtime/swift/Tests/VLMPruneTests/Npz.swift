import Foundation
import PictureFiles

/// An array of numpy: its shape, and its bytes in little-endian order.
struct NumpyArray {
    let shape: [Int]
    let bytes: [UInt8]

    var floats: [Float] {
        stride(from: 0, to: bytes.count, by: 4).map { at in
            Float(bitPattern: bytes[at..<at + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) })
        }
    }
}

struct NoSuchArray: Error {}

/// Reads an array of an .npz file, which is a zip file of compressed .npy files.
func npz(_ path: URL, _ name: String) throws -> NumpyArray {
    let file = [UInt8](try Data(contentsOf: path))
    func number(_ at: Int, _ bytes: Int) -> Int { file[at..<at + bytes].reversed().reduce(0) { $0 << 8 | Int($1) } }
    var at = file.count - 22
    at = number(at + 16, 4)
    while number(at, 4) == 0x0201_4B50 {
        let (size, nameBytes, start) = (number(at + 20, 4), number(at + 28, 2), number(at + 42, 4))
        if String(decoding: file[at + 46..<at + 46 + nameBytes], as: UTF8.self) == name + ".npy" {
            let data = start + 30 + number(start + 26, 2) + number(start + 28, 2)
            return try npy(inflated(Array(file[data..<data + size])))
        }
        at += 46 + nameBytes + number(at + 30, 2) + number(at + 32, 2)
    }
    throw NoSuchArray()
}

private func npy(_ bytes: [UInt8]) throws -> NumpyArray {
    let headerBytes = Int(bytes[8]) + Int(bytes[9]) << 8
    let header = String(decoding: bytes[10..<10 + headerBytes], as: UTF8.self)
    guard let sizes = header.split(separator: "(").last?.split(separator: ")").first else { throw NoSuchArray() }
    let shape = sizes.split(separator: ",").compactMap { Int($0.trimmingCharacters(in: .whitespaces)) }
    return NumpyArray(shape: shape, bytes: Array(bytes[(10 + headerBytes)...]))
}
