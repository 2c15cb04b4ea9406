"""Cases of VLM-Pruner: a list of cases, and arrays `NAME_keys`, `NAME_hidden`, `NAME_kept` and `NAME_fused`."""

from collections.abc import Sequence

from vlmprune_export.pruners import build_pruner
from vlmprune_tools.golden.case import (
    Arrays,
    Fields,
    GoldenCase,
    different_indices,
    different_rows,
    first_difference,
    tensor,
)

SETTINGS = ("pivots", "threshold", "batch")
TOLERANCE = 1e-4


def selection_cases(cases: Sequence[Fields], arrays: Arrays) -> list[GoldenCase]:
    """Returns the cases of a list."""
    return [GoldenCase(case["name"], "vlm-pruner", lambda case=case: compare(case, arrays)) for case in cases]  # type: ignore[misc]


def compare(case: Fields, arrays: Arrays) -> str | None:
    """Returns the first difference; where the released code returned fewer than K tokens, K tokens must hold them."""
    name = case["name"]
    pruner = build_pruner(
        "vlm-pruner", grid=(case["grid_height"], case["grid_width"]), keep=case["keep"],
        settings={setting: case[setting] for setting in SETTINGS if setting in case},
    )  # fmt: skip
    kept, fused, _ = pruner(tensor(arrays[f"{name}_hidden"]), tensor(arrays[f"{name}_keys"]))
    golden = arrays[f"{name}_kept"].tolist()
    if case.get("short"):
        missing = sorted(set(golden) - set(kept.tolist()))
        if len(kept) != case["keep"]:
            return f"kept: got {len(kept)} indices, expected {case['keep']}"
        return f"kept: {missing[0]} is missing" if missing else None
    rows = different_rows("fused", fused, arrays[f"{name}_fused"], TOLERANCE)
    return first_difference(different_indices("kept", kept, golden), rows)
