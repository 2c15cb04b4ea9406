"""What a user may give as MODEL, and what the bundle is called then."""

import socket
from pathlib import Path

import pytest

from tiny import write_checkpoint
from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.checkpoint.origin import model_argument, origin_of
from vlmprune_runtime.errors import BadRequest

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("models/my-llava", f"hub/models--llava-hf--llava-1.5-7b-hf/snapshots/{REVISION}"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = here / "models" / "my-llava"
    for given in ("models/my-llava", "models/my-llava/", "./models/../models/my-llava", str(folder)):
        found = origin_of(given)
        assert (found.name, found.model, found.revision, found.folder) == ("my-llava", str(folder), None, folder)
    monkeypatch.chdir(folder)
    assert (origin_of(".").name, origin_of("../my-llava").name) == ("my-llava", "my-llava")
    monkeypatch.setenv("HOME", str(here))
    assert origin_of("~/models/my-llava").folder == folder


def test_a_snapshot_of_the_hubs_cache_is_called_as_on_the_hub(here: Path) -> None:
    found = origin_of(f"hub/models--llava-hf--llava-1.5-7b-hf/snapshots/{REVISION}")
    assert (found.name, found.model, found.revision) == ("llava-1.5-7b-hf", "llava-hf/llava-1.5-7b-hf", REVISION)
    assert found.folder is not None


@pytest.mark.parametrize(
    ("given", "revision"),
    [
        ("llava-hf/llava-1.5-7b-hf", None),
        ("https://huggingface.co/llava-hf/llava-1.5-7b-hf", None),
        ("https://huggingface.co/llava-hf/llava-1.5-7b-hf/", None),
        ("http://hf.co/llava-hf/llava-1.5-7b-hf?library=transformers", None),
        ("huggingface.co/llava-hf/llava-1.5-7b-hf", None),
        ("https://huggingface.co/llava-hf/llava-1.5-7b-hf/tree/v2", "v2"),
        ("https://huggingface.co/llava-hf/llava-1.5-7b-hf/blob/main/config.json", "main"),
        ("https://mirror.example/llava-hf/llava-1.5-7b-hf", None),
    ],
)
def test_a_hub_id_and_its_addresses(
    here: Path, monkeypatch: pytest.MonkeyPatch, given: str, revision: str | None
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    found = origin_of(given)
    assert (found.name, found.model, found.revision) == ("llava-1.5-7b-hf", "llava-hf/llava-1.5-7b-hf", revision)
    assert found.folder is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("models/my-lava", "no folder 'models/my-lava'; models holds: my-llava"),
        ("./my-lava", "no folder './my-lava'; a checkpoint is"),
        ("/nowhere/at/all", "no folder '/nowhere/at/all'"),
        ("models", "is no checkpoint: config.json is missing"),
        ("models/my-llava/config.json", "is a file"),
        ("https://example.com/llava-hf/llava", "no folder 'https://example.com"),
        ("https://huggingface.co/datasets/me/pictures", "no folder 'https://huggingface.co/datasets/me/pictures'"),
        ("https://huggingface.co/llava-hf", "no folder 'https://huggingface.co/llava-hf'"),
        ("https://[", "no folder"),
        ("", "no checkpoint"),
        ("a\0b", "no folder"),
        ("x" * 70_000, "no folder"),
        ("../../escape", "no folder"),
    ],
)
def test_anything_else_is_refused_at_once(here: Path, given: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        origin_of(given)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_bundle_of_a_cached_snapshot_is_named_and_checked_as_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the cache alone, by folder and by id; the check finds the same revision again."""
    cached = tmp_path / "models--me--tiny"
    write_checkpoint(cached / "snapshots" / REVISION)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(REVISION)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for given in (str(cached / "snapshots" / REVISION), "me/tiny", f"https://huggingface.co/me/tiny/tree/{REVISION}"):
        found = load_checkpoint(given, progress=lambda line: None)
        assert (found.name, found.source.model, found.source.revision) == ("tiny", "me/tiny", REVISION)
        assert found.source.sha256 is not None
        assert load_checkpoint(model_argument(found.source), progress=lambda line: None).source == found.source


def test_a_hub_that_cannot_be_reached_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("vlmprune_export.checkpoint.parts.getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(
        BadRequest, match="no folder 'me/none'; as a hub id it is not in the cache, and no hub is reach"
    ):
        load_checkpoint("me/none", progress=lambda line: None)
