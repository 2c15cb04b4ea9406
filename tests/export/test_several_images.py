"""Several images in one prompt: commands that take `--image` more than once."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tiny import write_checkpoint
from vlmprune_export.cli import check
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    checkpoint = write_checkpoint(folder / "checkpoint")
    return export_bundle(
        ExportRequest(folder / "bundle", str(checkpoint), prune=PruneOptions("uniform", keep=8), context_tokens=160)
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    for nth, colour in enumerate(((200, 30, 20), (10, 90, 200))):
        Image.new("RGB", (60 + 20 * nth, 56), colour).save(folder / f"{nth}.png")
    return [word for nth in range(2) for word in ("--image", str(folder / f"{nth}.png"))]


def test_check_takes_several_images(bundle: Path, images: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(bundle), *images, "--prompt", "what ?", "--tokens", "4", "--json"]
    assert check.main(asked) == 0
    report = json.loads(capsys.readouterr().out)
    pruned, unpruned = report["agreements"]
    assert (pruned["keep"], pruned["kept_in_common"], unpruned["keep"]) == (16, 16, None)
    kept = [row for row in report["differences"] if row["output"] == "kept"]
    assert [row["equal"] for row in kept] == [True, True]
    assert any("follow-up" in row["stage"] for row in report["differences"])
