"""Making, damaging and checking tiny Core ML bundles."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.parity import CheckReport, CheckRequest, check_bundle

CONTEXT_TOKENS = 96
PROMPT = "what is in the picture ?"
QUICK = PruneOptions("grid", keep=8)
"""For bundles that are not about the selection: converting its loop takes longer than all the rest."""


def exported(checkpoint: Path, out: Path, **wishes: Any) -> Path:
    request = ExportRequest(out, str(checkpoint), "coreml", PruneOptions(keep=8), context_tokens=CONTEXT_TOKENS)
    return export_bundle(replace(request, **wishes))


def checked(bundle: Path, **wishes: Any) -> CheckReport:
    return check_bundle(replace(CheckRequest(bundle, prompt=PROMPT, tokens=6), **wishes))
