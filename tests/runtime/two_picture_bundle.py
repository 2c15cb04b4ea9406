"""The second handmade bundle as a folder: the manifest of the first with what differs."""

from pathlib import Path
from typing import Any

import two_picture_graphs as graphs
from handmade_bundle import cache, manifest, save_manifest, stage, tensor
from handmade_graphs import STOP
from two_picture_graphs import AXES, CACHE, HEIGHT, HEIGHT_PX, LAYERS, WIDTH, WIDTH_PX, D, K, N

CONTEXT = 128


def write_two_picture_bundle(folder: Path) -> Path:
    """The whole folder; returns it."""
    folder.mkdir(parents=True)
    for name in ("embed", "vision", "prune", "tail"):
        (folder / f"{name}.onnx").write_bytes(getattr(graphs, name)().SerializeToString())
    graphs.tokenizer().save(str(folder / "tokenizer.json"))
    save_manifest(folder, two_picture_manifest(folder))
    return folder


def two_picture_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the files that are there, as plain JSON."""
    fields, vocab = manifest(folder), graphs.tokenizer().get_vocab_size()
    size = {"height": HEIGHT, "width": WIDTH, "height_px": HEIGHT_PX, "width_px": WIDTH_PX}
    return fields | {
        "name": "handmade-two-pictures",
        "grids": [size | {"keep": [K], "mean_visual_tokens": float(K)}],
        "cuts": [{"stage": "prune", "at": "input", "layer": 0}],
        "positions": {"axes": AXES, "image": "grid"},
        "stages": stages(vocab),
        "prefill": ["embed", "vision", "prune", "tail"],
        "decode": ["embed", "tail"],
        "image": image(fields["image"]["steps"]),
        "prompt": fields["prompt"] | {"segments": segments(), "follow_up": follow_up()},
        "generation": {"stop_token_ids": [*fields["generation"]["stop_token_ids"], graphs.OTHER_STOP_ID]},
        "pruner": {"method": "like-the-text", "positions": "original", "settings": {}},
        "text_model": fields["text_model"] | {"layers": LAYERS, "vocab_size": vocab},
        "context_tokens": CONTEXT,
    }


def segments() -> list[dict[str, Any]]:
    """Text before the images, so that none lies at position 0, and between them."""
    images = {"before": graphs.BEFORE, "after": graphs.AFTER, "between": " and "}
    return [
        {"kind": "text", "text": "See "},
        {"kind": "images", **images, "fewest": 1, "most": 2},
        {"kind": "text", "text": " Q: "},
        {"kind": "user_text", "edits": [{"kind": "strip", "side": "both", "characters": " \n"}]},
        {"kind": "text", "text": " A:"},
    ]


def follow_up() -> dict[str, Any]:
    """A further question, which may be about more images."""
    images = {"before": graphs.BEFORE, "after": graphs.AFTER, "between": " and ", "fewest": 0, "most": None}
    segments = [
        {"kind": "text", "text": f"{STOP} "},
        {"kind": "images", **images},
        {"kind": "text", "text": " Q: "},
        {"kind": "user_text", "edits": [{"kind": "strip", "side": "both", "characters": " \n"}]},
        {"kind": "text", "text": " A:"},
    ]
    return {"before_answer": " ", "segments": segments, "standalone": True}


def image(first: list[dict[str, Any]]) -> dict[str, Any]:
    """The steps of the first bundle, but every image is stretched to one shape with another filter."""
    by_name = {step["step"]: step for step in first}
    kernel = by_name["resize"]["kernel"] | {"filter": "lanczos", "support_px": 3.0, "cubic_a": None}
    to = {"mode": "exact", "height_px": HEIGHT_PX, "width_px": WIDTH_PX}
    resize = {"step": "resize", "to": to, "kernel": kernel}
    names = ("orient", "colour", "resize", "rescale", "normalise", "layout")
    steps = [(by_name | {"resize": resize})[name] for name in names]
    return {"steps": steps}


def stages(vocab: int) -> dict[str, Any]:
    """The stages as the manifest declares them."""
    rows, pixels = ["tokens", D], [1, 3, HEIGHT_PX, WIDTH_PX]
    features = tensor("features", [N, D], "vision.features")
    text = tensor("text", ["text_tokens", D], "embed.embeddings[text]")
    step = [
        tensor("embeddings", rows, "sequence.rows"),
        tensor("positions", [AXES, "tokens"], "sequence.positions"),
        tensor("past_tokens", [1], "sequence.past_tokens"),
    ]
    layers = [{"layer": layer, "kind": "full"} for layer in range(LAYERS)]
    names = {"inputs": CACHE, "outputs": [f"{name}_now" for name in CACHE]}
    kept = {"kept": [K], "fused": [K, D], "rank": [K]}
    return {
        "embed": stage("embed", "embed", [tensor("token_ids", ["tokens"], "prompt.token_ids")], {"embeddings": rows}),
        "vision": stage("vision", "vision", [tensor("pixels", pixels, "image.pixels")], {"features": [N, D]}),
        "prune": stage("prune", "prune", [features, text], kept),
        "tail": stage("tail", "decoder", step, {"logits": [vocab]}, cache(0, "float32") | {"layers": layers} | names),
    }
