"""Making, signing and checking tiny ExecuTorch bundles."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.parity import CheckReport, CheckRequest, check_bundle

WHY = "executorch is not installed: pip install 'vlmprune[executorch]'; its target and engine are NOT tested"
CONTEXT_TOKENS = 96
QUICK = PruneOptions("grid", keep=8)
"""For bundles that are not about the selection: lowering its loop takes longer than all the rest."""


def exported(checkpoint: Path, out: Path, **wishes: Any) -> Path:
    request = ExportRequest(out, str(checkpoint), "executorch", PruneOptions(keep=8), context_tokens=CONTEXT_TOKENS)
    return export_bundle(replace(request, **wishes))


def checked(bundle: Path, **wishes: Any) -> CheckReport:
    request = CheckRequest(bundle, prompt="what is in the picture ?", tokens=32)
    return check_bundle(replace(request, **wishes))
