import Foundation
import Testing

@testable import VLMPrune

struct PreprocessTests {
    @Test func everyKindOfStepGivesThePixelsOfPython() throws {
        let stored = try npz(golden.appending(path: "image_steps/picture.npz"), "picture")
        let whole = try Picture(width: stored.shape[1], height: stored.shape[0], rgb: stored.bytes)
        let rows = try goldenRows("image_steps/cases.json")
        #expect(rows.count > 20)
        for row in rows {
            var steps = JSONObject()
            _ = steps.add("steps", try #require(row["steps"]))
            let preprocess = Preprocess(try readImage(Field(.object(steps), file: "cases.json")))
            let size = row["size"]?.ints ?? []
            let picture = whole.cropped(left: 0, top: 0, to: Size(height: size[0], width: size[1]), colour: .black)
            let views = try preprocess.views(of: picture)
            let expected = row["views"]?.items ?? []
            let name = "\(row["name"]?.string ?? "") of \(size)"
            #expect(
                views.map { [$0.seen.height, $0.seen.width] } == expected.map { $0["size"]?.ints ?? [] }, "\(name)")
            let hashes = views.map { sha256(preprocess.pixels(of: $0.seen).values.flatMap { bytes($0) }) }
            #expect(hashes == expected.map { $0["sha256"]?.string ?? "" }, "\(name)")
        }
    }

    @Test func pixelsAreThoseOfPython() throws {
        let preprocess = Preprocess(try Bundle.open(golden.appending(path: "bundle")).manifest.image)
        let views = try preprocess.views(of: goldenPicture("image.png"))
        #expect(views.count == 1)
        #expect(try views[0].seen.rgb == npz(golden.appending(path: "pixels.npz"), "seen").bytes)
        #expect(
            try preprocess.pixels(of: views[0].seen).values
                == npz(golden.appending(path: "pixels.npz"), "pixels").floats)
    }

    @Test func pixelsOfBothPicturesAreThoseOfPython() throws {
        let preprocess = Preprocess(try Bundle.open(golden.appending(path: "bundle_two_pictures")).manifest.image)
        let views = try ["first.png", "second.png"].flatMap {
            try preprocess.views(of: goldenPicture("two_pictures/\($0)"))
        }
        let file = golden.appending(path: "two_pictures/pixels.npz")
        #expect(try views.flatMap(\.seen.rgb) == npz(file, "seen").bytes)
        #expect(try views.flatMap { preprocess.pixels(of: $0.seen).values } == npz(file, "pixels").floats)
    }

    @Test(arguments: 1...8)
    func everyOrientationIsTurnedUpright(orientation: Int) throws {
        // The upright picture is 2 wide and 3 high, its pixels numbered row by row; stored as each orientation stores it.
        let stored: [[UInt8]] = [
            [0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4], [5, 4, 3, 2, 1, 0], [4, 5, 2, 3, 0, 1],
            [0, 2, 4, 1, 3, 5], [1, 3, 5, 0, 2, 4], [5, 3, 1, 4, 2, 0], [4, 2, 0, 5, 3, 1],
        ]
        let rgba = stored[orientation - 1].flatMap { [UInt8]([$0, $0, $0, 255]) }
        let (width, height) = orientation > 4 ? (3, 2) : (2, 3)
        let picture = try DecodedPicture(width: width, height: height, rgba: rgba, orientation: orientation).upright()
        #expect(picture.rgb == (0..<6).flatMap { [UInt8]([$0, $0, $0]) })
    }

    @Test func aCropShowsWhereItLiesInThePicture() throws {
        let target = ResizeTarget.shortestEdge(edgePx: 4)
        let moves = [Move.resize(target, .of(.bicubic)), .crop(Size(height: 4, width: 4), .black)]
        let spec = ImageSpec(moves: moves, split: nil, factor: 1, mean: [0, 0, 0], std: [1, 1, 1])
        let picture = try Picture(width: 16, height: 8, rgb: [UInt8](repeating: 7, count: 3 * 16 * 8))
        let view = try #require(try Preprocess(spec).views(of: picture).first)
        #expect(view.box == Box(left: 4, top: 0, right: 12, bottom: 8))
    }

    private func bytes(_ value: Float) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
    }
}
