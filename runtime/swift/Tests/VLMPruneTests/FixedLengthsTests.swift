import Testing

@testable import VLMPrune

struct FixedLengthsTests {
    private func input(_ name: String, _ shape: [Dimension], _ source: InputSource, _ padding: Padding?) -> InputSpec {
        let spec = TensorSpec(name: name, dtype: .int32, shape: shape, graphShape: [.fixed(1)] + shape)
        return InputSpec(tensor: spec, source: source, padding: padding)
    }

    private func sequence(_ tensor: String) -> InputSource { InputSource(stage: "sequence", tensor: tensor, part: nil) }

    private func graph(_ entry: String, _ phase: Phase, _ tokens: Int) -> Graph {
        Graph(
            file: "head.mlpackage", entry: entry, phase: phase, tokens: tokens, textTokens: nil, grid: nil, inputs: nil)
    }

    private var lengths: FixedLengths {
        let rows = TensorSpec(
            name: "hidden", dtype: .float32, shape: [.tokens, .fixed(2)], graphShape: [.tokens, .fixed(2)])
        let cache = Cache(
            owner: .state, layers: [CacheLayer(layer: 0, kind: .full, windowTokens: nil)], kvHeads: 1, headDim: 1,
            dtype: .float16, layout: [.capacity], capacityTokens: 8, inputs: [], outputs: [],
            states: ["keys", "values"])
        let stage = Stage(
            role: .decoder,
            inputs: [
                input("rows", [.tokens, .fixed(2)], sequence("rows"), .zero),
                input("positions", [.fixed(3), .tokens], sequence("positions"), .last),
                input("past", [.fixed(1)], sequence("past_tokens"), nil),
                input("last", [.fixed(1)], sequence("last_row"), nil),
            ],
            outputs: [rows],
            graphs: [
                graph("long", .prefill, 8), graph("short", .prefill, 4), graph("one", .decode, 1),
                graph("some", .decode, 2),
            ],
            data: [], cache: cache, quantisation: .none, computeUnits: nil, computeUnitsReason: nil)
        return FixedLengths(name: "head", stage: stage)
    }

    private func inputs(rows: Int, past: Int = 0) -> [String: Tensor] {
        let values = (0..<2 * rows).map(Float.init)
        let positions = (0..<3).flatMap { axis in (0..<rows).map { 10 * axis + $0 } }
        return [
            "rows": .floats(FloatTensor(shape: [rows, 2], values: values)),
            "positions": .integers(IntegerTensor(shape: [3, rows], values: positions)),
            "past": .integers(IntegerTensor([past])), "last": .integers(IntegerTensor([rows - 1])),
        ]
    }

    @Test func theShortestGraphThatFitsIsTaken() throws {
        #expect(try lengths.graph(for: inputs(rows: 3), grid: 0).entry == "short")
        #expect(try lengths.graph(for: inputs(rows: 5), grid: 0).entry == "long")
        #expect(try lengths.graph(for: inputs(rows: 1), grid: 0).entry == "short")
        #expect(try lengths.graph(for: inputs(rows: 1, past: 3), grid: 0).entry == "one")
        #expect(try lengths.graph(for: inputs(rows: 2, past: 3), grid: 0).entry == "some")
        #expect(lengths.longestBehind == 2)
        #expect(throws: BadRequest.self) { try lengths.graph(for: inputs(rows: 9), grid: 0) }
    }

    @Test func inputsArePaddedAsTheManifestSays() throws {
        let given = inputs(rows: 3)
        let padded = try lengths.padded(given, for: lengths.graph(for: given, grid: 0))
        #expect(padded.map(\.spec.name) == ["rows", "positions", "past", "last"])
        #expect(padded[0].tensor == .floats(FloatTensor(shape: [4, 2], values: [0, 1, 2, 3, 4, 5, 0, 0])))
        let positions = [0, 1, 2, 2, 10, 11, 12, 12, 20, 21, 22, 22]
        #expect(padded[1].tensor == .integers(IntegerTensor(shape: [3, 4], values: positions)))
    }

    @Test func outputsLoseTheRowsOfPaddingAndLeadingOnes() {
        let whole = Tensor.floats(FloatTensor(shape: [1, 4, 2], values: [0, 1, 2, 3, 4, 5, 6, 7]))
        let cut = lengths.unpadded(whole, lengths.stage.outputs[0], rows: 3)
        #expect(cut == .floats(FloatTensor(shape: [3, 2], values: [0, 1, 2, 3, 4, 5])))
    }

    @Test func moreTokensBehindOthersThanACallTakesRunInParts() {
        let part = lengths.part(1..<3, of: inputs(rows: 3, past: 4), past: 4)
        #expect(part["rows"] == .floats(FloatTensor(shape: [2, 2], values: [2, 3, 4, 5])))
        #expect(part["positions"] == .integers(IntegerTensor(shape: [3, 2], values: [1, 2, 11, 12, 21, 22])))
        #expect(part["past"] == .integers(IntegerTensor([5])) && part["last"] == .integers(IntegerTensor([1])))
        let parts = [FloatTensor(shape: [2, 2], values: [0, 9, 1, 9]), FloatTensor(shape: [1, 2], values: [2, 9])]
        let joined = lengths.joined(parts.map { ["hidden": .floats($0)] })["hidden"]
        #expect(joined == .floats(FloatTensor(shape: [3, 2], values: [0, 9, 1, 9, 2, 9])))
    }

    @Test func halfPrecisionIsThatOfIEEE754() {
        #expect(
            [0, 1, -2, 65504, 65520, 0x1p-24, 0x1p-25].map { halfBits($0) } == [
                0, 0x3C00, 0xC000, 0x7BFF, 0x7C00, 1, 0,
            ])
        #expect((UInt16.min..<0x7C00).allSatisfy { halfBits(float(half: $0)) == $0 })
        #expect(halfBits(1 + 0x1p-11) == 0x3C00 && halfBits(1 + 0x1.8p-11) == 0x3C01)
    }
}
