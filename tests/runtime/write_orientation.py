"""Writes `tests/golden/orientation.json`: image files whose EXIF block says how they are to be turned.

Run `python tests/runtime/write_orientation.py` after a change here; runners in other languages are tested with it.
"""

import io
import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from vlmprune_runtime.image_loading import ORIENTATION_TAG, ORIENTATIONS, load_image

OUT = Path(__file__).parents[1] / "golden" / "orientation.json"
LOSSLESS = ("PNG", "TIFF")
PIXELS = np.arange(5 * 3 * 3, dtype=np.uint8).reshape(3, 5, 3) * 5


def encoded(kind: str, orientation: int | None, order: str = "II", **options: object) -> bytes:
    """Returns an image of 5 x 3 pixels as a file of a format, with the tag in a byte order if there is one."""
    exif = Image.Exif()
    exif.endian = ">" if order == "MM" else "<"
    block = b""
    if orientation is not None:
        exif[ORIENTATION_TAG] = orientation
        block = exif.tobytes()
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, exif=block, **options)
    return file.getvalue()


def files() -> dict[str, tuple[str, bytes]]:
    """Returns format and bytes of every file by name."""
    cases = {f"PNG {value}": ("PNG", encoded("PNG", value)) for value in range(10)}
    cases |= {
        f"JPEG {value} {order}": ("JPEG", encoded("JPEG", value, order)) for value, order in ((6, "II"), (8, "MM"))
    }
    cases |= {f"{kind} without": (kind, encoded(kind, None)) for kind in ("PNG", "JPEG", "WEBP")}
    cases["WEBP 5"] = ("WEBP", encoded("WEBP", 5, lossless=True))
    cases["TIFF 3"] = ("TIFF", encoded("TIFF", 3))
    jpeg = encoded("JPEG", 6)
    cases["JPEG whose block is cut"] = ("JPEG", jpeg.replace(b"Exif\0\0II*\0\x08\0\0\0", b"Exif\0\0II*\0\xff\0\0\0"))
    cases["JPEG with a block of another kind"] = ("JPEG", jpeg.replace(b"Exif\0\0", b"http:/"))
    return cases


def row(name: str, kind: str, data: bytes) -> dict[str, object]:
    """Returns what a runner must read of a file; pixels of formats that lose some differ between decoders."""
    image = load_image(io.BytesIO(data))
    turns = {Image.fromarray(PIXELS).transpose(turn).tobytes(): value for value, turn in ORIENTATIONS.items()}
    stored = Image.open(io.BytesIO(data)).getexif().get(ORIENTATION_TAG) if kind != "TIFF" else 3
    orientation = stored if stored in ORIENTATIONS else 1
    if kind in LOSSLESS:
        assert turns.get(image.tobytes(), 1) == orientation
    pixels = sha256(image.tobytes()).hexdigest() if kind in LOSSLESS else None
    size = [image.height, image.width]
    return {"name": name, "file": b64encode(data).decode(), "orientation": orientation, "size": size, "sha256": pixels}


def main() -> None:
    """Writes all cases."""
    rows = [row(name, kind, data) for name, (kind, data) in files().items()]
    OUT.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
