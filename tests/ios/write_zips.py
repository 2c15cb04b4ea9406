"""Writes the zipped bundles with which the iOS app's reader of zip files is tested: good ones, and hostile ones.

Run `python tests/ios/write_zips.py` after a change here. What zipfile would not write is changed in the bytes.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np

ZIPS = Path(__file__).parents[1] / "golden" / "zips"
CENTRAL, CRC, SIZE = b"PK\x01\x02", 16, 24  # a file's header in the list at the end, and places in it
NOISE = np.random.default_rng(5).integers(0, 256, 3000, dtype=np.uint8).tobytes()
FILES = {
    "pocket/": b"",
    "pocket/bundle.json": b'{"name": "pocket"}',
    "pocket/tail.mlpackage/weights.bin": NOISE + bytes(range(256)) * 300,
}


def archive(files: Mapping[str, bytes], method: int = ZIP_DEFLATED) -> bytes:
    """Returns a zip file as zipfile writes it, always with the same time."""
    out = BytesIO()
    with ZipFile(out, "w", method) as zipped:
        for name, content in files.items():
            info = ZipInfo(name)
            info.compress_type = method
            zipped.writestr(info, content)
    return out.getvalue()


def with_field(zipped: bytes, place: int, value: int) -> bytes:
    """Returns a zip file with another number of four bytes in the list's last header."""
    at = zipped.rindex(CENTRAL) + place
    return zipped[:at] + struct.pack("<I", value) + zipped[at + 4 :]


def archives() -> dict[str, bytes]:
    """Returns all archives by name."""
    deflated = archive(FILES)
    outside = {f"pocket/{name}": b"x" for name in ("bundle.json", "../../outside")}
    return {
        "deflated": deflated,
        "stored": archive({name: content[:3000] for name, content in FILES.items()}, ZIP_STORED),
        "outside": archive(outside),
        "absolute": archive({"bundle.json": b"{}", "/tmp/outside": b"x"}),
        "backslash": archive({"bundle.json": b"{}", "..\\outside": b"x"}),
        "wrong_crc": with_field(deflated, CRC, 1),
        "larger_than_it_says": with_field(deflated, SIZE, 5000),
        "smaller_than_it_says": with_field(deflated, SIZE, 90_000),
        "bomb": archive({"bundle.json": b"{}", "zeros.bin": bytes(4 << 20)}),
        "impossible_size": with_field(deflated, SIZE, 0xFFFF_FFFE),
        "truncated": deflated[:3000],
        "without_its_middle": deflated[:1000] + deflated[2500:],
    }


if __name__ == "__main__":
    ZIPS.mkdir(exist_ok=True)
    for name, zipped in archives().items():
        (ZIPS / f"{name}.zip").write_bytes(zipped)
