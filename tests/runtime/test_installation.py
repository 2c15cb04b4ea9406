"""What is said to install an extra."""

import json
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from vlmprune_runtime import installation
from vlmprune_runtime.errors import MissingExtra
from vlmprune_runtime.installation import install_command


class Installed:
    """A distribution with this text in direct_url.json, which one from an index does not have."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def read_text(self, name: str) -> str | None:
        return self.text if name == "direct_url.json" else None


EDITABLE = json.dumps({"url": "file:///home/me/my%20code/vlmprune", "dir_info": {"editable": True}})
FROM_FOLDER = json.dumps({"url": "file:///home/me/vlmprune", "dir_info": {}})


@pytest.mark.parametrize("text", [None, FROM_FOLDER])
def test_an_extra_comes_from_the_index(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    monkeypatch.setattr(installation, "distribution", lambda name: Installed(text))
    assert install_command("tools") == "pip install 'vlmprune[tools]'"


def test_an_extra_of_a_clone_comes_from_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "distribution", lambda name: Installed(EDITABLE))
    command = f"{sys.executable} -m pip install -e '/home/me/my code/vlmprune[tools]'"
    assert str(MissingExtra("scipy", "tools")) == f"scipy is not installed; run: {command}"


def test_code_that_is_only_on_the_path_names_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Installed:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "distribution", missing)
    assert install_command("heic") == "pip install 'vlmprune[heic]'"
