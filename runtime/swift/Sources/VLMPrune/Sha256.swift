#if canImport(CryptoKit)
import CryptoKit
#endif

/// The SHA-256 of bytes that come in parts.
struct Sha256 {
    #if canImport(CryptoKit)
    private var digest = SHA256()

    mutating func update(_ bytes: UnsafeRawBufferPointer) { digest.update(bufferPointer: bytes) }

    /// Returns the hash as 64 hexadecimal digits.
    func hexDigits() -> String { hex(digest.finalize()) }
    #else
    private var digest = PortableSha256()

    mutating func update(_ bytes: UnsafeRawBufferPointer) { digest.update(bytes) }

    /// Returns the hash as 64 hexadecimal digits.
    func hexDigits() -> String {
        var last = digest
        return hex(last.finished())
    }
    #endif

    mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }
}

func sha256(_ bytes: [UInt8]) -> String {
    var digest = Sha256()
    digest.update(bytes)
    return digest.hexDigits()
}

private func hex(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".unicodeScalars)
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}

/// FIPS 180-4, for platforms without CryptoKit.
struct PortableSha256 {
    private var state: [UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
    private var pending: [UInt8] = []
    private var count = 0

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        count += bytes.count
        var at = 0
        if !pending.isEmpty {
            at = min(64 - pending.count, bytes.count)
            pending.append(contentsOf: bytes[..<at])
            guard pending.count == 64 else { return }
            let block = pending
            block.withUnsafeBytes { add($0[...]) }
            pending = []
        }
        while at + 64 <= bytes.count {
            add(bytes[at..<at + 64])
            at += 64
        }
        pending.append(contentsOf: bytes[at...])
    }

    mutating func finished() -> [UInt8] {
        let bits = UInt64(count) * 8
        let zeros = (119 - pending.count % 64) % 64
        let padding =
            [0x80] + [UInt8](repeating: 0, count: zeros)
            + (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * $0)) }
        padding.withUnsafeBytes { update($0) }
        return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * $0)) } }
    }

    private mutating func add(_ block: Slice<UnsafeRawBufferPointer>) {
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 64) { words in
            for nth in 0..<16 {
                let at = block.startIndex + 4 * nth
                words[nth] = block[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) }
            }
            for nth in 16..<64 {
                let (a, b) = (words[nth - 15], words[nth - 2])
                let low = rotated(a, 7) ^ rotated(a, 18) ^ (a >> 3)
                let high = rotated(b, 17) ^ rotated(b, 19) ^ (b >> 10)
                words[nth] = words[nth - 16] &+ low &+ words[nth - 7] &+ high
            }
            compress(words)
        }
    }

    private mutating func compress(_ words: UnsafeMutableBufferPointer<UInt32>) {
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for nth in 0..<64 {
            let choice = (e & f) ^ (~e & g)
            let first =
                h &+ (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) &+ choice &+ roundConstants[nth] &+ words[nth]
            let majority = (a & b) ^ (a & c) ^ (b & c)
            let second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) &+ majority
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ second)
        }
        for (nth, value) in [a, b, c, d, e, f, g, h].enumerated() { state[nth] = state[nth] &+ value }
    }

    private func rotated(_ word: UInt32, _ bits: UInt32) -> UInt32 { word >> bits | word << (32 - bits) }
}

private let roundConstants: [UInt32] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
]
