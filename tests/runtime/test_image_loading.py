"""Images of all kinds come out upright and in RGB; what is no image is a `BadRequest`."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photos import odd_images, photos
from vlmprune_runtime import image_loading as image_module
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.image_loading import check_image, load_image, to_rgb
from vlmprune_runtime.installation import install_command


def stored(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, kind: str) -> None:
    """As `ImageOps.exif_transpose`: a red mark in the upper left stays where a viewer shows it."""
    image = Image.new("RGB", (40, 24), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    turned = load_image(stored(image, kind, exif=exif, **lossless))
    corners = {1: (0, 0), 2: (39, 0), 3: (39, 23), 4: (0, 23), 5: (0, 0), 6: (23, 0), 7: (23, 39), 8: (0, 39)}
    assert turned.size == ((40, 24) if orientation < 5 else (24, 40))
    assert turned.getpixel(corners[orientation]) == pytest.approx((255, 0, 0), abs=3)


def test_alpha_lies_on_white() -> None:
    for image in (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), Image.new("LA", (2, 2), (0, 0))):
        assert load_image(image).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", odd_images())
def test_equals_the_hugging_face_conversion(name: str) -> None:
    convert = pytest.importorskip("transformers.image_transforms").convert_to_rgb
    image = odd_images()[name]
    assert np.array_equal(np.asarray(to_rgb(image)), convert(image, return_numpy=True))


def test_sixteen_bits_are_scaled() -> None:
    """Hugging Face clips them: anything above 255 of 65535 would be white."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    grey = np.asarray(load_image(stored(Image.fromarray(ramp), "PNG")))[..., 0]
    assert np.abs(grey.ravel().astype(int) - np.arange(256)).max() <= 1
    dark = np.asarray(load_image(Image.fromarray(np.full((2, 2), 200, np.uint16))))
    assert dark.max() == 1


@pytest.mark.parametrize(("top", "mode"), [(1.0, "F"), (255.0, "F"), (65535.0, "F"), (255, "I"), (65535, "I")])
def test_floats_and_long_whole_numbers(top: float, mode: str) -> None:
    data = np.array([[0, top / 2, top]], dtype=np.float32 if mode == "F" else np.int32)
    image = Image.fromarray(data)
    assert image.mode == mode
    assert np.abs(np.asarray(load_image(image))[0, :, 0].astype(int) - [0, 127, 255]).max() <= 1


def test_nan_and_negative_floats() -> None:
    values = np.array([[np.nan, -5.0, 0.5, 1.0]], dtype=np.float32)
    assert np.asarray(load_image(Image.fromarray(values)))[0, :, 0].tolist() == [0, 0, 128, 255]


def test_path_file_and_image_are_the_same(tmp_path: Path) -> None:
    photo = photos()["coffee"]
    photo.save(tmp_path / "coffee.png")
    with (tmp_path / "coffee.png").open("rb") as file:
        found = [load_image(source) for source in (photo, tmp_path / "coffee.png", str(tmp_path / "coffee.png"), file)]
    assert all(np.array_equal(np.asarray(image), np.asarray(photo)) for image in found)


def test_the_given_image_stays_as_it_was() -> None:
    image = Image.new("RGBA", (3, 3), (1, 2, 3, 4))
    load_image(image)
    assert image.mode == "RGBA"


def broken(source: object) -> str:
    with pytest.raises(BadRequest) as caught:
        load_image(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_image(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    assert "No such file" in broken(tmp_path / "none.png")
    assert "directory" in broken(tmp_path)
    assert "not an image" in broken(tmp_path / "text.png")
    assert "not an image" in broken(io.BytesIO(b""))
    assert "image" in broken("nul\0byte.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_images(kind: str) -> None:
    """At every tenth of the file; a format may call a short file whole, but nothing else may be raised."""
    data = stored(photos()["coffee"].resize((90, 60)), kind).getvalue()
    told = 0
    for tenth in range(10):
        try:
            load_image(io.BytesIO(data[: len(data) * tenth // 10]))
        except BadRequest:
            told += 1
    assert told >= 8


def limit(monkeypatch: pytest.MonkeyPatch, whole: int, decoded: int, jpeg: int) -> None:
    """Other limits of the number of pixels, for images small enough for a test."""
    for name, value in (("IMAGE", whole), ("DECODED", decoded), ("JPEG", jpeg)):
        monkeypatch.setattr(image_module, f"MAX_{name}_PIXELS", value)


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 50, 99, 200)
    assert "10 x 10 = 100 pixels; allowed: 1 to 99" in broken(Image.new("RGB", (10, 10)))
    assert "10 x 10 = 100 pixels" in broken(stored(Image.new("RGB", (10, 10)), "PNG"))
    assert "21 x 10 = 210 pixels; allowed: 1 to 200" in broken(stored(Image.new("RGB", (21, 10)), "JPEG"))


def test_decompression_bomb(recwarn: pytest.WarningsRecorder) -> None:
    for side in (12_000, 20_000):
        assert "pixels" in broken(stored(Image.new("1", (side, side)), "PNG"))
    assert not recwarn.list


@pytest.mark.parametrize(("kind", "most"), [("JPEG", 100_000), ("PNG", 30_000)])
@pytest.mark.parametrize(("whole", "factor"), [(24_000, 1), (23_999, 2), (6_000, 2), (5_999, 4), (1_499, 8)])
def test_large_images_are_reduced(
    kind: str, most: int, whole: int, factor: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the phones' images of 108 megapixels; upright all the same."""
    image = photos()["coffee"].resize((200, 120))
    exif = Image.Exif()
    exif[0x0112] = 6
    image_module._warn_once.cache_clear()
    limit(monkeypatch, whole, most, 100_000)
    small = load_image(stored(image, kind, exif=exif))
    assert small.size == (120 // factor, 200 // factor)
    expected = image.reduce(factor).transpose(Image.Transpose.ROTATE_270)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(expected)).mean() < 6
    told = f"200 x 120 pixels are many: used at {200 // factor} x {120 // factor}"
    assert [told in line for line in caplog.messages] == [True] * (factor > 1)


def test_a_jpeg_is_decoded_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that could not be held whole is never decoded whole."""
    limit(monkeypatch, 6_000, 6_001, 24_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_001)  # Pillow refuses twice as many, as it does 200 megapixels
    assert load_image(stored(photos()["coffee"].resize((200, 120)), "JPEG")).size == (100, 60)
    assert "has too many pixels; allowed: 1 to 6001" in broken(stored(Image.new("RGB", (200, 120)), "PNG"))


def test_a_given_image_is_not_changed_by_reducing(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 6_000, 24_000, 24_000)
    with Image.open(stored(photos()["coffee"].resize((200, 120)), "JPEG")) as image:
        assert load_image(image).size == (100, 60)
        assert image.size == (200, 120)


def with_exif(kind: str, block: bytes) -> io.BytesIO:
    """An image 40 pixels wide and 24 high whose EXIF block is that."""
    return stored(Image.new("RGB", (40, 24), (9, 9, 9)), kind, exif=block)


def tiff_block(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of entries (tag, type, count, four bytes of value or offset), what it points to at its end."""
    packed = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"MM\0*" + struct.pack(">IH", 8, len(entries)) + packed + struct.pack(">I", 0) + struct.pack(">ii", -1, 0)


TURNED = (274, 3, 1, b"\0\6\0\0")
WHOLE_TAG = {
    "a rational -1/0": tiff_block(TURNED, (282, 10, 1, struct.pack(">I", 38))),
    "GPS data beyond the end": tiff_block(TURNED, (34853, 4, 1, b"\x7f\xff\xff\xff")),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("damage", WHOLE_TAG)
def test_a_damaged_exif_block_whose_orientation_is_whole(
    damage: str, kind: str, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_image(with_exif(kind, b"Exif\0\0" + WHOLE_TAG[damage])).size == (24, 40)
    assert not recwarn.list
    assert not caplog.messages


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"\0\x08\0\2\1\x12\0\3" * 4, b"MM\0*", b"II*\0\xff\xff\xff\xff"])
def test_an_exif_block_that_cannot_be_read(
    block: bytes, kind: str, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The image is used as it is stored; where Pillow notices the damage, one line says so, once."""
    image_module._warn_once.cache_clear()
    for _ in range(2):
        assert load_image(with_exif(kind, b"Exif\0\0" + block)).size == (40, 24)
    assert not recwarn.list
    assert len(caplog.messages) == 1
    assert "EXIF block is damaged: used as it is stored, not turned" in caplog.text


HEIC_HEADER = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_without_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "phone.jpg").write_bytes(HEIC_HEADER)
    for source in (tmp_path / "phone.jpg", str(tmp_path / "phone.jpg"), io.BytesIO(HEIC_HEADER)):
        assert f"a HEIC image: pillow-heif is not installed; run: {install_command('heic')}" in broken(source)


def test_heic(tmp_path: Path) -> None:
    """An image that the phone was held upright for is upright, and near what was stored."""
    pillow_heif = pytest.importorskip("pillow_heif")
    photo = photos()["coffee"].resize((120, 80))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = pillow_heif.from_pillow(photo)
    file.save(tmp_path / "phone.heic", quality=90, exif=exif.tobytes())
    for source in (tmp_path / "phone.heic", io.BytesIO((tmp_path / "phone.heic").read_bytes())):
        seen = load_image(source)
        assert seen.size == (80, 120)
        expected = np.asarray(photo.transpose(Image.Transpose.ROTATE_270)).astype(int)
        assert np.abs(np.asarray(seen) - expected).mean() < 5
    (tmp_path / "cut.heic").write_bytes((tmp_path / "phone.heic").read_bytes()[:600])
    assert "cut.heic" in broken(tmp_path / "cut.heic")


def test_the_header_alone_shows_what_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    photos()["coffee"].save(tmp_path / "coffee.png")
    (tmp_path / "phone.heic").write_bytes(HEIC_HEADER)
    (tmp_path / "notes.png").write_text("what the picture shows")
    check_image(tmp_path / "coffee.png")
    for name, reason in (("phone.heic", "[heic]'"), ("notes.png", "known format"), ("none.png", "No such file")):
        with pytest.raises(BadRequest, match=reason.replace("[", r"\[")):
            check_image(tmp_path / name)
