"""Runs an onnx bundle with numpy; written from docs/bundle.md and bundle.schema.json, and from nothing else."""

import hashlib
import json
import os
import re
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

SCHEMA = json.loads((Path(__file__).parents[2] / "runtime/vlmprune_runtime/schema/bundle.schema.json").read_text())
FILTERS = {
    "nearest": lambda x, a: np.ones(x.shape),
    "bilinear": lambda x, a: 1 - np.minimum(x, 1),
    "lanczos": lambda x, a: np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0),
    "bicubic": lambda x, a: np.where(x < 1, ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a),
}
SIZES = {  # height and width after a resize
    "exact": lambda to, high, wide: (to["height_px"], to["width_px"]),
    "shortest_edge": lambda to, high, wide: [to["edge_px"] * side // min(high, wide) for side in (high, wide)],
}
STEPS = {  # what each makes of an image (H, W, channels)
    "orient": lambda p, s: np.rot90(p, [0, 2, 3, 1][(s["tag"] - 1) // 2])[:, :: -1 if s["tag"] in (2, 4, 5, 7) else 1],
    "colour": lambda p, s: ((p[..., :3] * p[..., 3:] + 255 * (255 - p[..., 3:]) + 127) // 255).astype(np.uint8),
    "pad": lambda p, s: centred(p, [max(p.shape)] * 2, s["colour"]),
    "resize": lambda p, s: resized(p, SIZES[s["to"]["mode"]](s["to"], *p.shape[:2]), s["kernel"]),
    "crop": lambda p, s: centred(p, (s["height_px"], s["width_px"]), s["colour"]),
    "rescale": lambda p, s: p.astype(np.float32) * np.float32(s["factor"]),
    "normalise": lambda p, s: (p - np.float32(s["mean"])) / np.float32(s["std"]),
    "layout": lambda p, s: p.transpose(2, 0, 1),
}


def require(met, message):
    if not met:
        raise ValueError(message)


def checked(value, schema, at, newer):
    """Returns a part of the manifest with defaults for missing fields; refuses fields that the schema does not know."""
    if "discriminator" in schema:
        schema = {"$ref": schema["discriminator"]["mapping"][value[schema["discriminator"]["propertyName"]]]}
    schema = schema.get("anyOf", [schema])[0]
    schema = SCHEMA["$defs"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
    if isinstance(value, list):
        return [checked(item, schema.get("items", {}), f"{at}.{i}", newer) for i, item in enumerate(value)]
    if not isinstance(value, dict) or schema.get("additionalProperties"):
        return value
    fields = schema.get("properties") or dict.fromkeys(value, *schema["patternProperties"].values())
    given = [name for name in value if name in fields or require(newer, f"{at}: unknown field {name}")]
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    return defaults | {name: checked(value[name], fields[name], f"{at}.{name}", newer) for name in given}


def centred(p, size, colour):
    cut = [max(old - new, 0) // 2 for old, new in zip(p.shape, size, strict=False)]
    p = p[cut[0] : cut[0] + size[0], cut[1] : cut[1] + size[1]]
    around = [((new - old) // 2, (new - old + 1) // 2) for old, new in zip(p.shape, size, strict=False)]
    return np.stack([np.pad(p[..., i], around, constant_values=colour[i]) for i in range(3)], -1)


def resized(p, size, kernel):
    for axis in (1, 0):
        step, pixels = p.shape[axis] / size[axis], np.arange(p.shape[axis])
        centres, stretch = (np.arange(size[axis])[:, None] + 0.5) * step, max(step, 1) if kernel["antialias"] else 1
        reach, one = max(kernel["support_px"] * stretch, 0.5), 2.0 ** kernel["weight_bits"]
        weights = FILTERS[kernel["filter"]](abs(pixels + 0.5 - centres) / stretch, kernel["cubic_a"])
        weights *= (pixels >= np.floor(centres - reach + 0.5)) & (pixels < np.floor(centres + reach + 0.5))
        weights = weights / weights.sum(1, keepdims=True) * one
        weights = np.trunc(weights + np.copysign(0.5, weights))
        sums = np.moveaxis(np.tensordot(weights, p.astype(float), (1, axis)), 0, axis)
        p = np.floor(sums / one + 0.5).clip(0, 255).astype(np.uint8)
    return p


class Runner:
    def __init__(self, folder):
        folder = Path(folder).resolve()
        m = json.loads((folder / "bundle.json").read_text())
        require(m["schema"]["major"] == 2, f"version {m['schema']['major']}, not 2: export the bundle again")
        self.m = m = checked(m, SCHEMA, "bundle.json", m["schema"].get("minor", 0) > 0)
        require(m["target"] == "onnx", f"target {m['target']}: only onnx")
        for name, entry in m["files"].items():
            plain = not re.search(r"[/\\]", name) and (folder / name).resolve().parent == folder
            same = plain and hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]
            require(same, f"{name}: lies outside of the bundle, or differs from the file that was exported")
        files = {graph["file"] for stage in m["stages"].values() for graph in stage["graphs"]}
        self.sessions = {file: ort.InferenceSession(str(folder / file)) for file in files}
        self.tokenizer = Tokenizer.from_file(str(folder / m["tokenizer"]))

    def pixels(self, file):  # -> (3, H, W)
        with Image.open(file) as stored:
            image, tag = np.asarray(stored.convert("RGBA")).astype(int), stored.getexif().get(274, 1)
        for step in self.m["image"]["steps"]:
            image = STEPS[step["step"]](image, step | {"tag": tag if tag in range(1, 9) else 1})
        return image

    def token_ids(self, question, images):
        spec, text = self.m["prompt"], ""
        for part in spec["segments"]:
            if part["kind"] == "images":
                require(part["fewest"] <= images <= (part["most"] or images), f"no room for {images} images")
                text += part["between"].join([part["before"] + spec["image_token"] + part["after"]] * images)
            for edit in part.get("edits", []):
                method = {"start": str.lstrip, "end": str.rstrip, "both": str.strip}.get(edit.get("side"), str.replace)
                question = method(question, *[edit[key] for key in ("characters", "old", "new") if key in edit])
            text += question if part["kind"] == "user_text" else part.get("text", "")
            text += datetime.now().strftime(part.get("format", ""))
        require(spec["image_token"] not in question, "the question contains the image token")
        return self.tokenizer.encode(text, add_special_tokens=spec["add_special_tokens"]).ids

    def prompt(self, question, images):  # images (3, H, W) -> the call of a prompt, the next position
        m, top, view, counted = self.m, 0, 0, self.m["positions"]["image"] == "sequence"
        call = SimpleNamespace(ids=[], positions=[], labels=[], views=images, rows=None, outputs={})
        call.grids = [[(g["height_px"], g["width_px"]) for g in m["grids"]].index(p.shape[1:]) for p in images]
        for token in self.token_ids(question, len(images)):
            image = token == m["prompt"]["image_token_id"]
            grid = m["grids"][call.grids[view]] if image else {"height": 1, "width": 1, "prefix_tokens": 0}
            cells = [(0, y, x) for y in range(grid["height"]) for x in range(grid["width"])]
            cells, prefix = [(i,) * 3 for i in range(len(cells))] if counted else cells, grid["prefix_tokens"]
            offsets = [(i,) * 3 for i in range(prefix)] + [[prefix + place for place in cell] for cell in cells]
            call.labels += [2 * view] * prefix + [2 * view + 1] * len(cells) if image else [-1]  # prefix, visual, text
            call.ids += [0 if image else token] * len(offsets)
            call.positions += [[top + place for place in offset[: m["positions"]["axes"]]] for offset in offsets]
            top, view = top + max(map(max, offsets)) + 1, view + image
        call.positions, call.labels = np.array(call.positions).T, np.array(call.labels)
        return call, top

    def value(self, source, stage, call, view):  # what a source means for a stage and the view that it runs for
        known = {"image.pixels": call.views[view : view + 1], "prompt.token_ids": call.ids, "sequence.rows": call.rows}
        known |= {"sequence.positions": call.positions, "sequence.last_row": len(call.labels) - 1}
        name, output, *part = re.split(r"[.\[\]]", source)
        if name not in call.outputs and not part:
            return (known | {"sequence.past_tokens": self.past[stage]})[source]
        results, labels = call.outputs.get(name, ([{"places": np.arange(len(call.labels))}], call.labels))
        value = results[view if len(results) > 1 else 0][output]
        rows = {"visual": labels == 2 * view + 1, "text": labels == -1, "last": [-1]}
        return value[rows[part[0]]] if part else value

    def run(self, name, call, view=0):
        stage, feeds = self.m["stages"][name], dict(self.caches[name])
        graph = next(g for g in stage["graphs"] if g["grid"] in (None, *call.grids[view : view + 1]))
        for t in [t for t in stage["inputs"] if t["name"] in (graph["inputs"] or t["name"])]:
            value = np.asarray(self.value(t["source"], name, call, view), t["dtype"])
            feeds[t["name"]] = value.reshape([-1 if isinstance(size, str) else size for size in t["shape"]])
        cache, names = stage["cache"] or {"inputs": [], "outputs": []}, [tensor["name"] for tensor in stage["outputs"]]
        found = self.sessions[graph["file"]].run(names + cache["outputs"], feeds)
        self.caches[name] = dict(zip(cache["inputs"], found[len(names) :], strict=True))
        return dict(zip(names, found, strict=False))

    def forward(self, stages, call):  # -> logits (V), what was kept of each view
        pruned, cells = [], [np.arange((call.labels == 2 * view + 1).sum()) for view in range(len(call.views))]
        for name in stages:
            role = self.m["stages"][name]["role"]
            views = range(len(call.views)) if role in ("vision", "prune") else [0]
            results = [self.run(name, call, view) for view in views]
            call.outputs[name] = results, call.labels
            if role == "embed":
                call.rows = results[0]["embeddings"].copy()
            elif role == "decoder":
                call.rows, self.past[name] = results[0].get("hidden"), self.past[name] + len(call.labels)
            for view in views if role == "vision" else []:
                call.rows[call.labels // 2 == view] = results[view]["features"]
            for view in views if role == "prune" else []:
                places, kept = np.flatnonzero(call.labels == 2 * view + 1), results[view]["kept"]
                call.rows[places[kept]], cells[view] = results[view]["fused"], cells[view][kept]
                stay = np.delete(np.arange(len(call.labels)), np.delete(places, kept))
                call.rows, call.positions, call.labels = call.rows[stay], call.positions[:, stay], call.labels[stay]
            if role == "prune":
                pruned = [{"kept": cells[v].tolist(), "rank": results[v]["rank"].tolist()} for v in views]
        return results[0]["logits"], pruned

    def answer(self, question, files, prune=True, max_tokens=64):
        """Returns the token ids of the greedy answer; of each view, `kept` and `rank`."""
        call, top = self.prompt(question, [self.pixels(file) for file in files])
        m, g, tokens = self.m, self.m["generation"], len(call.ids)
        unmet = [k for k in g if re.search("penal|gram|words|^min_[ln]|forced|suppr", k) and g[k] not in ([], 0, 1.0)]
        require(not unmet, f"cannot follow {', '.join(unmet)}")
        own = g["max_new_tokens"] or (g["max_length"] or m["context_tokens"]) - tokens
        limit, answer, self.past, self.caches = min(max_tokens, own, m["context_tokens"] - tokens), [], {}, {}
        for name, stage in m["stages"].items():
            cache = stage["cache"] or {"layout": [], "inputs": [], "dtype": "float32"}
            shape = [(cache | {"batch": 1, "capacity": tokens + limit})[size] for size in cache["layout"]]
            self.past[name], self.caches[name] = 0, {i: np.zeros(shape, cache["dtype"]) for i in cache["inputs"]}
        stages = [name for name in m["prefill"] if prune or m["stages"][name]["role"] != "prune"]
        logits, pruned = self.forward(stages, call)
        while len(answer) < limit and (token := int(logits.argmax())) not in g["stop_token_ids"]:
            at, text = np.full((m["positions"]["axes"], 1), top + len(answer)), np.array([-1])
            call = SimpleNamespace(ids=[token], positions=at, labels=text, views=[], grids=[], rows=None, outputs={})
            logits, _ = self.forward(m["decode"], call)
            answer.append(token)
        return answer, pruned
