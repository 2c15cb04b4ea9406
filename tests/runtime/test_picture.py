"""Pictures of all kinds come out upright and in RGB; what is no picture is a `BadRequest`."""

import io
from pathlib import Path

import numpy as np
import pytest
from photos import odd_pictures, photos
from PIL import Image

from vlmprune_runtime import picture as picture_module
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.picture import load_image, to_rgb


def stored(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    """As `ImageOps.exif_transpose`: a red mark in the upper left stays where a viewer shows it."""
    image = Image.new("RGB", (40, 24), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = load_image(stored(image, "PNG", exif=exif))
    corners = {1: (0, 0), 2: (39, 0), 3: (39, 23), 4: (0, 23), 5: (0, 0), 6: (23, 0), 7: (23, 39), 8: (0, 39)}
    assert turned.size == ((40, 24) if orientation < 5 else (24, 40))
    assert turned.getpixel(corners[orientation]) == (255, 0, 0)


def test_alpha_lies_on_white() -> None:
    for image in (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), Image.new("LA", (2, 2), (0, 0))):
        assert load_image(image).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", odd_pictures())
def test_equals_the_hugging_face_conversion(name: str) -> None:
    convert = pytest.importorskip("transformers.image_transforms").convert_to_rgb
    image = odd_pictures()[name]
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


def test_the_given_picture_stays_as_it_was() -> None:
    image = Image.new("RGBA", (3, 3), (1, 2, 3, 4))
    load_image(image)
    assert image.mode == "RGBA"


def broken(source: object) -> str:
    with pytest.raises(BadRequest) as caught:
        load_image(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_picture(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    assert "No such file" in broken(tmp_path / "none.png")
    assert "directory" in broken(tmp_path)
    assert "not a picture" in broken(tmp_path / "text.png")
    assert "not a picture" in broken(io.BytesIO(b""))
    assert "image" in broken("nul\0byte.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_pictures(kind: str) -> None:
    """At every tenth of the file; a format may call a short file whole, but nothing else may be raised."""
    data = stored(photos()["coffee"].resize((90, 60)), kind).getvalue()
    told = 0
    for tenth in range(10):
        try:
            load_image(io.BytesIO(data[: len(data) * tenth // 10]))
        except BadRequest:
            told += 1
    assert told >= 8


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_module, "MAX_IMAGE_PIXELS", 99)
    assert "10 x 10 = 100 pixels" in broken(Image.new("RGB", (10, 10)))


def test_decompression_bomb(recwarn: pytest.WarningsRecorder) -> None:
    for side in (11_000, 20_000):
        assert "pixels" in broken(stored(Image.new("1", (side, side)), "PNG"))
    assert not recwarn.list
