"""How this copy of vlmprune was installed, and so what installs an extra of it."""

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit


def install_command(extra: str) -> str:
    """Returns the command that installs an extra: in a clone, from it and into the environment that runs."""
    folder = _clone()
    if folder is None:
        return f"pip install 'vlmprune[{extra}]'"
    return f"{sys.executable} -m pip install -e '{folder}[{extra}]'"


def _clone() -> str | None:
    """Returns the folder of an editable installation (direct_url.json, PEP 610), None for any other."""
    try:
        text = distribution("vlmprune").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    origin = json.loads(text) if text else {}
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return unquote(urlsplit(origin["url"]).path)
