"""Cases of the baselines: `cases` with a method and a scene, arrays `scene_SCENE__ARRAY` and `CASE__OUTPUT`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmprune_export.pruners import ModelParts, Pruner, build_pruner
from vlmprune_tools.golden.case import (
    Array,
    Arrays,
    Fields,
    GoldenCase,
    different_indices,
    different_rows,
    first_difference,
    tensor,
)

TOLERANCE = 1e-4


class FinalNorm(torch.nn.Module):
    """The factors of a final norm; the length of the rows does not matter in a cosine."""

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = torch.nn.Parameter(factors, requires_grad=False)

    def forward(self, rows: Tensor) -> Tensor:  # (S, D) -> (S, D)
        """Returns the rows times the factors."""
        return rows * self.factors


@dataclass(frozen=True)
class Scene:
    """A case with the arrays of its scene and its own outputs; the visual tokens stand behind the system's tokens."""

    case: Fields
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    system_tokens: int

    def rows(self, name: str) -> Tensor:
        """Returns an input in fp32."""
        return tensor(self.inputs[name])

    def by_head(self, name: str) -> Tensor:  # (H, R, dh) -> (R, H * dh)
        """Returns an input of several heads, the heads side by side."""
        return self.rows(name).transpose(0, 1).flatten(1)

    @property
    def tokens(self) -> int:
        """N, the number of visual tokens."""
        return int(self.case["grid_height"] * self.case["grid_width"])

    @property
    def places(self) -> Tensor:
        """Where the visual tokens stand in the sequence, (N,)."""
        return torch.arange(self.tokens) + self.system_tokens

    @property
    def text_places(self) -> Tensor:
        """Where the text tokens behind the image stand, (T,)."""
        return torch.arange(self.inputs["text"].shape[0]) + self.system_tokens + self.tokens

    def build(self, method: str, keep: int | None = None, parts: ModelParts | None = None, **settings: Any) -> Pruner:
        """Returns the pruner for the case's grid and number of tokens."""
        grid = (self.case["grid_height"], self.case["grid_width"])
        return build_pruner(method, grid=grid, keep=keep or self.case["keep"], settings=settings, parts=parts)

    def decoder(self) -> ModelParts:
        """Returns the parts of the decoder that the attention of the scene belongs to."""
        query, keys = self.inputs["q_text"], self.inputs["keys"]
        base = float(self.case.get("rope_base", 10000.0))

        def rope(positions: Tensor) -> Tensor:
            speeds = base ** (-torch.arange(0, keys.shape[2], 2).double() / keys.shape[2])
            cosines: Tensor = (positions[:, None] * speeds).cos().repeat(1, 2).float()
            return cosines

        return ModelParts(query.shape[0], keys.shape[0], keys.shape[2], rope=rope, positions=keys.shape[1])

    def different(self, kept: Tensor) -> str | None:
        """Compares kept tokens."""
        return self.different_sets("kept", kept, self.outputs["kept"].astype(np.int64))

    def different_sets(self, name: str, tokens: Tensor, golden: Array) -> str | None:
        """Compares two rows of tokens, by class where exactly equal tokens may stand for each other."""
        ours = tokens.numpy()
        if not self.case.get("ties"):
            return different_indices(name, ours, golden)
        classes = self.inputs["classes"]
        return different_indices(f"{name}, by class", np.sort(classes[ours]), np.sort(classes[golden]))


def fastv(scene: Scene) -> str | None:
    """Compares FastV."""
    last = scene.text_places[-1:]
    query = scene.by_head("q_text")[-1:]
    pruner = scene.build("fastv", parts=scene.decoder())
    return scene.different(pruner(scene.rows("hidden"), scene.places, scene.by_head("keys"), query, last)[0])


def divprune(scene: Scene) -> str | None:
    """Compares DivPrune, the order of choice included."""
    kept, _, rank = scene.build("divprune")(scene.rows("hidden"))
    different = scene.different(kept)
    if scene.case.get("ties") or "order" not in scene.outputs:
        return different
    return first_difference(different, different_indices("order", kept[rank.argsort()], scene.outputs["order"]))


def dart(scene: Scene) -> str | None:
    """Compares DART with the released function whose pivots were given in order."""
    settings = {"image_pivots": scene.case["pivot_image"], "text_pivots": scene.case["pivot_text"]}
    pruner = scene.build("dart", parts=ModelParts(norm=FinalNorm(scene.rows("gamma"))), **settings)
    keys = scene.by_head("keys")
    kept, _, rank = pruner(
        scene.rows("hidden"), keys[scene.places], scene.places, scene.rows("text"), keys[scene.text_places],
        scene.text_places,
    )  # fmt: skip
    image = scene.outputs["pivots"][: settings["image_pivots"]].astype(np.int64)
    chosen = kept[rank.argsort()][: len(image)]
    return first_difference(scene.different(kept), scene.different_sets("image pivots", chosen, image))


def visionzip(scene: Scene) -> str | None:
    """Compares VisionZip; the CLS token, which the released code counts as dominant, is not kept here."""
    size = scene.inputs["cls_query"].shape[1]
    logits = torch.einsum("hd,hnd->hn", scene.rows("cls_query") * size**-0.5, scene.rows("tower_keys"))
    attention, metric = logits.softmax(-1).mean(0)[1:], scene.rows("tower_keys").mean(0)[1:]
    count = scene.case["contextual"]
    pruner = scene.build("visionzip", scene.case["dominant"] - 1 + count, contextual=count)
    kept, fused, rank = pruner(scene.rows("hidden"), scene.rows("hidden"), attention, metric)
    in_order = rank.argsort()
    dominant = kept[in_order][:-count].sort().values
    golden = scene.outputs["dominant"].astype(np.int64)
    different = scene.different_sets("dominant", dominant, golden[golden > 0] - 1)
    merged = different_rows("contextual", fused[in_order][-count:], scene.outputs["contextual"], TOLERANCE)
    return first_difference(different, merged)


def prumerge(scene: Scene) -> str | None:
    """Compares PruMerge, whose attention has one head over all channels."""
    query, keys = scene.rows("cls_query").flatten() * 3, scene.by_head("tower_keys")
    attention = (keys @ query * keys.shape[1] ** -0.5).softmax(0)[1:]
    pruner = scene.build("prumerge", neighbours=scene.case["neighbours"])
    _, fused, rank = pruner(scene.rows("hidden"), scene.rows("hidden"), attention, keys[1:])
    return different_rows("tokens", fused[rank.argsort()], scene.outputs["tokens"], TOLERANCE)


def sparsevlm(scene: Scene) -> str | None:
    """Compares SparseVLM: the tokens that stay as they are, and the merged ones, the best first."""
    select = scene.case["select"]
    kept, fused, rank = _sparsevlm(scene, scene.build("sparsevlm", parts=scene.decoder(), select=select))
    order = rank.argsort()
    different = scene.different(kept[order][:select].sort().values)
    return first_difference(
        different, different_rows("merged", fused[order][select:], scene.outputs["merged"], TOLERANCE)
    )


def sparsevlm_plus(scene: Scene) -> str | None:
    """Compares SparseVLM's second version."""
    pruner = scene.build("sparsevlm", parts=scene.decoder(), plus=True, heads=scene.case["heads"], any_distance=True)
    return scene.different(_sparsevlm(scene, pruner)[0])


def _sparsevlm(scene: Scene, pruner: Pruner) -> Any:
    hidden = scene.rows("hidden")
    return pruner(
        hidden, scene.places, hidden, scene.rows("text"), scene.by_head("q_text"), scene.by_head("keys"),
        scene.text_places,
    )  # fmt: skip


def cdpruner(scene: Scene) -> str | None:
    """Compares CDPruner."""
    return scene.different(
        scene.build("cdpruner")(scene.rows("hidden"), scene.rows("tower"), scene.rows("text_clip"))[0]
    )


def mmtok(scene: Scene) -> str | None:
    """Compares MMTok, whose keywords are the scene's text."""
    case = scene.case
    names = {"alpha": "alpha", "text_temperature": "tv_temp", "visual_temperature": "vv_temp"}
    pruner = scene.build("mmtok", **{ours: case[theirs] for ours, theirs in names.items()})
    hidden, text = scene.rows("hidden"), scene.rows("text")
    return scene.different(pruner(hidden, scene.places, scene.rows("tower"), text, scene.text_places)[0])


METHODS: Mapping[str, Callable[[Scene], str | None]] = {
    "fastv": fastv,
    "divprune": divprune,
    "dart": dart,
    "visionzip": visionzip,
    "sparsevlm": sparsevlm,
    "sparsevlm_plus": sparsevlm_plus,
    "cdpruner": cdpruner,
    "mmtok": mmtok,
    "prumerge": prumerge,
}


def baseline_cases(content: Mapping[str, Any], arrays: Arrays) -> list[GoldenCase]:
    """Returns the cases of a file; those of a method that is not known differ."""
    system = content["llm_system_tokens"]
    return [_case(case, arrays, system) for case in content["cases"]]


def _case(case: Fields, arrays: Arrays, system_tokens: int) -> GoldenCase:
    scene = Scene(case, _own(arrays, f"scene_{case['scene']}__"), _own(arrays, f"{case['name']}__"), system_tokens)
    return GoldenCase(case["name"], case["method"], lambda: _compare(scene))


def _compare(scene: Scene) -> str | None:
    method = scene.case["method"]
    return METHODS[method](scene) if method in METHODS else f"no method is known by the name {method!r}"


def _own(arrays: Arrays, prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
