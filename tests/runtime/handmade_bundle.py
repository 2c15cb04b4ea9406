"""The handmade bundle as a folder: graphs, tokenizer and manifest."""

import hashlib
import json
from pathlib import Path
from typing import Any

from handmade_graphs import IMAGE, PX, STOP, WHOLE, D, K, N, attention, embed, prune, tokenizer, vision

CONTEXT = 64


def write_bundle(folder: Path, cache_dtype: str = "float32") -> Path:
    """The whole folder; returns it."""
    folder.mkdir(parents=True)
    graphs = {
        "vision": vision(),
        "embed": embed(),
        "head": attention("head", cache_dtype),
        "prune": prune(),
        "tail": attention("tail", cache_dtype),
    }
    for name, model in graphs.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    tokenizer().save(str(folder / "tokenizer.json"))
    save_manifest(folder, manifest(folder, cache_dtype))
    return folder


def save_manifest(folder: Path, fields: dict[str, Any]) -> None:
    """`fields` as the folder's bundle.json."""
    (folder / "bundle.json").write_text(json.dumps(fields, indent=1) + "\n")


def manifest(folder: Path, cache_dtype: str = "float32") -> dict[str, Any]:
    """The manifest of the files that are there, as plain JSON."""
    made = tokenizer()
    vocab = made.get_vocab_size()
    return {
        "schema": {"major": 2, "minor": 0},
        "name": "handmade",
        "model_type": "llava",
        "target": "onnx",
        "source": {"model": "handmade", "revision": None, "sha256": None},
        "quantisation": "none",
        "grids": [grid()],
        "cuts": [{"stage": "prune", "at": "layer", "layer": 1}],
        "positions": {"axes": 1, "image": "sequence"},
        "stages": stages(vocab, cache_dtype),
        "prefill": ["embed", "vision", "head", "prune", "tail"],
        "decode": ["embed", "head", "tail"],
        "tokenizer": "tokenizer.json",
        "image": image(),
        "prompt": {
            "segments": [
                {"kind": "images", "before": "", "after": "", "between": "", "fewest": 1, "most": None},
                {"kind": "text", "text": " Q: "},
                {"kind": "user_text", "edits": []},
                {"kind": "text", "text": " A:"},
            ],
            "follow_up": None,
            "image_token": IMAGE,
            "image_token_id": made.token_to_id(IMAGE),
            "add_special_tokens": False,
        },
        "generation": {"stop_token_ids": [made.token_to_id(STOP)]},
        "pruner": {"method": "top-sum", "positions": "original", "settings": {"pivots": 2}},
        "text_model": {
            "layers": 2,
            "hidden_size": D,
            "intermediate_size": D,
            "attention_heads": 1,
            "kv_heads": 1,
            "head_dim": D,
            "vocab_size": vocab,
        },
        "context_tokens": CONTEXT,
        "memory": {
            "weights_bytes": 20_000,
            "kv_cache_bytes": 8_192,
            "activations_bytes": 50_000,
            "peak_bytes": 78_192,
        },
        "versions": {"vlmprune": "0.1.0", "onnxruntime": "1.31.1"},
        "files": {path.name: entry(path) for path in sorted(folder.iterdir()) if path.name != "bundle.json"},
        "parity": None,
    }


def image() -> dict[str, Any]:
    """The steps of a processor of CLIP's kind."""
    kernel = {
        "filter": "bicubic",
        "support_px": 2.0,
        "cubic_a": -0.5,
        "antialias": True,
        "weight_bits": 22,
        "passes": ["horizontal", "vertical"],
        "between_passes": "uint8",
    }
    resize = {"step": "resize", "to": {"mode": "shortest_edge", "edge_px": PX}, "kernel": kernel}
    crop = {"step": "crop", "height_px": PX, "width_px": PX, "position": "centre", "colour": [0, 0, 0]}
    steps = [
        {"step": "orient", "exif_tag": 274},
        {"step": "colour", "space": "rgb", "background": [255, 255, 255], "icc_profile": "ignored"},
        *(resize, crop),
        {"step": "rescale", "factor": 1 / 255},
        {"step": "normalise", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.5]},
        {"step": "layout", "order": "chw", "dtype": "float32"},
    ]
    return {"steps": steps}


def entry(path: Path) -> dict[str, Any]:
    """Size and hash of a file."""
    data = path.read_bytes()
    return {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def grid() -> dict[str, Any]:
    """The only shape of image."""
    return {"height": 4, "width": 4, "height_px": PX, "width_px": PX, "keep": [K], "mean_visual_tokens": 10.0}


def stages(vocab: int, cache_dtype: str) -> dict[str, Any]:
    """The stages as the manifest declares them: role, inputs with their sources, outputs."""
    rows, place = ["tokens", D], ["tokens"]
    step = [
        tensor("positions", place, "sequence.positions"),
        tensor("past_tokens", [1], "sequence.past_tokens"),
    ]
    return {
        "embed": stage("embed", "embed", [tensor("token_ids", place, "prompt.token_ids")], {"embeddings": rows}),
        "vision": stage("vision", "vision", [tensor("pixels", [1, 3, PX, PX], "image.pixels")], {"features": [N, D]}),
        "head": stage(
            "head",
            "decoder",
            [tensor("embeddings", rows, "sequence.rows"), *step],
            {"hidden": rows, "keys": rows},
            cache(0, cache_dtype),
        ),
        "prune": stage(
            "prune",
            "prune",
            [tensor("hidden", [N, D], "head.hidden[visual]"), tensor("keys", [N, D], "head.keys[visual]")],
            {"kept": [K], "fused": [K, D], "rank": [K]},
        ),
        "tail": stage(
            "tail",
            "decoder",
            [tensor("hidden", rows, "sequence.rows"), *step],
            {"logits": [vocab]},
            cache(1, cache_dtype),
        ),
    }


def stage(
    name: str,
    role: str,
    inputs: list[dict[str, Any]],
    outputs: dict[str, Any],
    cached: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One stage of the manifest."""
    return {
        "role": role,
        "inputs": inputs,
        "outputs": [tensor(*item) for item in outputs.items()],
        "graphs": [{"file": f"{name}.onnx"}],
        "data": [],
        "cache": cached,
        "quantisation": "none",
    }


def cache(layer: int, dtype: str) -> dict[str, Any]:
    """The cache of a stage with one layer."""
    return {
        "owner": "caller",
        "layers": [{"layer": layer, "kind": "full"}],
        "kv_heads": 1,
        "head_dim": D,
        "dtype": dtype,
        "layout": ["batch", "kv_heads", "capacity", "head_dim"],
        "inputs": ["key0", "value0"],
        "outputs": ["key0_now", "value0_now"],
    }


def tensor(name: str, shape: list[int | str], source: str | None = None) -> dict[str, Any]:
    """A tensor of the manifest; its dtype follows from its name."""
    made = {"name": name, "dtype": WHOLE.get(name, "float32"), "shape": shape}
    return made if source is None else made | {"source": source}
