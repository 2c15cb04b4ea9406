"""The handmade bundle as a folder: graphs, tokenizer and manifest."""

import hashlib
import json
from pathlib import Path
from typing import Any

from handmade_graphs import IMAGE, PX, STOP, D, K, N, attention, embed, prune, tokenizer, vision

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
        "schema_version": 1,
        "name": "handmade",
        "model_type": "llava",
        "target": "onnx",
        "source": {"model": "handmade", "revision": None, "sha256": None},
        "quantisation": "none",
        "stages": stages(vocab, cache_dtype),
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
        "pruner": {
            "method": "top-sum",
            "layer": 1,
            "visual_tokens": N,
            "keep": K,
            "mean_visual_tokens": 10.0,
            "rounding": "round",
            "positions": "original",
            "settings": {"pivots": 2},
        },
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
    return {"steps": steps, "grid_height": 4, "grid_width": 4}


def entry(path: Path) -> dict[str, Any]:
    """Size and hash of a file."""
    data = path.read_bytes()
    return {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def stages(vocab: int, cache_dtype: str) -> dict[str, Any]:
    """The stages' tensors as the manifest declares them."""
    rows, place = ["tokens", D], ["tokens"]
    shapes = {
        "vision": ({"pixels": [1, 3, PX, PX]}, {"visual": [N, D]}),
        "embed": ({"token_ids": place}, {"embeddings": rows}),
        "head": (
            {"embeddings": rows, "positions": place, "past_tokens": [1]},
            {"hidden": rows, "keys": rows},
        ),
        "prune": ({"hidden": [N, D], "keys": [N, D]}, {"kept": [K], "fused": [K, D], "order": [K]}),
        "tail": ({"hidden": rows, "positions": place, "past_tokens": [1]}, {"logits": [vocab]}),
    }
    return {name: stage(name, *sides, cache_dtype) for name, sides in shapes.items()}


def stage(name: str, inputs: dict[str, Any], outputs: dict[str, Any], cache_dtype: str) -> dict[str, Any]:
    """One stage of the manifest."""
    cached = {
        "layers": 1,
        "kv_heads": 1,
        "head_dim": D,
        "dtype": cache_dtype,
        "inputs": ["key0", "value0"],
        "outputs": ["key0_now", "value0_now"],
    }
    return {
        "file": f"{name}.onnx",
        "data": [],
        "inputs": [tensor(*item) for item in inputs.items()],
        "outputs": [tensor(*item) for item in outputs.items()],
        "cache": cached if name in ("head", "tail") else None,
        "quantisation": "none",
    }


def tensor(name: str, shape: list[int | str]) -> dict[str, Any]:
    """A tensor of the manifest; its dtype follows from its name."""
    whole = {
        "past_tokens": "int32",
        "token_ids": "int64",
        "positions": "int64",
        "kept": "int64",
        "order": "int64",
    }
    return {"name": name, "dtype": whole.get(name, "float32"), "shape": shape}
