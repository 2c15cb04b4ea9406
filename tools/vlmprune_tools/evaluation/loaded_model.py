"""A loaded model to evaluate: a bundle in its engine, or a checkpoint in eager PyTorch, behind one interface."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from tokenizers import Tokenizer

from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.processor import default_grids, generation_settings, image_spec, prompt_spec
from vlmprune_export.pruners import ModelParts
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime import __version__
from vlmprune_runtime.benchmark.result import ENGINE_PACKAGES
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines import Engine, load_engine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.progress import Report
from vlmprune_runtime.prompt import load_tokenizer
from vlmprune_runtime.schema import MANIFEST, Bundle, Generation, ImageSpec, Pipeline, PromptSpec, Pruner

DEFAULT_LAYER = 2
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Identity:
    """The evaluated model. `sha256` is of the manifest without attached results, or of the checkpoint."""

    name: str
    engine: str
    layer: int
    decoder_layers: int
    sha256: str | None
    source_sha256: str | None
    quantisation: str = "none"
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedModel:
    """A model with all that an evaluator needs; `exported_pruner` is the one inside a bundle's graphs.

    `parts` are those of the model that a pruner outside the graphs may use: its numbers, no modules.
    `staged` is a checkpoint in its stages, from which methods get pipelines of their own; None for a bundle.
    """

    pipeline: Pipeline
    engine: Engine
    tokenizer: Tokenizer
    image: ImageSpec
    prompt: PromptSpec
    generation: Generation
    context_tokens: int
    identity: Identity
    exported_pruner: Pruner | None = None
    staged: StagedModel | None = None
    parts: ModelParts = field(default_factory=ModelParts)

    @property
    def grid(self) -> tuple[int, int]:
        """Returns the image's height and width in visual tokens."""
        return self.pipeline.grids[0].height, self.pipeline.grids[0].width

    @property
    def visual_tokens(self) -> int:
        """Returns the number N of visual tokens of one image."""
        return self.pipeline.visual_tokens


def load_model(
    name: str, layer: int | None, threads: int | None, progress: Report, dtype: str = "float32"
) -> LoadedModel:
    """Loads the bundle in that folder if it is one, otherwise the checkpoint of that name.

    `layer` None means the bundle's own, or 2 for a checkpoint. `dtype` is the precision of a checkpoint's language
    model. Errors: `BundleError`, `EngineError`, `BadRequest`.
    """
    if threads is not None and threads < 1:
        raise BadRequest(f"threads: got {threads}; allowed: 1 or more")
    if threads is not None:
        torch.set_num_threads(threads)
    if (Path(name) / MANIFEST).is_file():
        if dtype != DTYPES[0]:
            raise BadRequest(f"dtype: got {dtype}; allowed: {DTYPES[0]}, a bundle has its own precision")
        return load_bundle(Path(name), layer, threads)
    return load_staged_checkpoint(name, DEFAULT_LAYER if layer is None else layer, progress, dtype)


def load_bundle(folder: Path, layer: int | None, threads: int | None) -> LoadedModel:
    """Loads a bundle; its cut is fixed in its graphs, so `layer` must be None or that cut."""
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    cut = manifest.layer
    if layer not in (None, cut):
        raise BadRequest(f"layer: got {layer}; allowed: {cut}, this bundle's cut; for others give the checkpoint")
    engine = load_engine(bundle, threads=threads)
    tokenizer = load_tokenizer(bundle)
    identity = bundle_identity(manifest)
    text = manifest.text_model
    return LoadedModel(
        manifest, engine, tokenizer, manifest.image, manifest.prompt, manifest.generation, manifest.context_tokens,
        identity, manifest.pruner, parts=ModelParts(text.attention_heads, text.kv_heads, text.head_dim),
    )  # fmt: skip


def load_staged_checkpoint(name: str, layer: int, progress: Report, dtype: str = "float32") -> LoadedModel:
    """Loads a checkpoint and splits it into stages in eager PyTorch.

    `dtype` is the precision of the language model; vision tower, projector and pruners stay in fp32.
    """
    if dtype not in DTYPES:
        raise BadRequest(f"dtype: got {dtype!r}; allowed: {', '.join(DTYPES)}")
    checkpoint = load_checkpoint(name, progress=progress)
    family = build_family(checkpoint.model, default_grids(checkpoint.processor.image_processor))
    for part in (family.layers, family.norm, family.lm_head):
        part.to(getattr(torch, dtype))
    # VLM-Pruner reads all that other pruners read; at the language model's input there is less to read.
    staged = StagedModel(family, PruneOptions("vlm-pruner" if layer else "uniform", layer, family.grids[0].tokens))
    engine = TorchEngine(staged)
    versions = {"vlmprune": __version__, **{package: version(package) for package in ("torch", "transformers")}}
    identity = Identity(
        name=checkpoint.name,
        engine="pytorch",
        layer=layer,
        decoder_layers=len(family.layers),
        sha256=checkpoint.source.sha256,
        source_sha256=checkpoint.source.sha256,
        quantisation="none" if dtype == DTYPES[0] else dtype,
        versions=versions,
    )
    image = image_spec(checkpoint.processor.image_processor, family)
    prompt = prompt_spec(checkpoint.processor, checkpoint.model, progress)
    generation, tokenizer = generation_settings(checkpoint.model, progress), unpadded_tokenizer(checkpoint.processor)
    return LoadedModel(
        staged.pipeline, engine, tokenizer, image, prompt, generation, family.max_positions, identity, staged=staged
    )


def unpadded_tokenizer(processor: object) -> Tokenizer:
    """Copies a processor's fast tokenizer, without padding and truncation."""
    backend = getattr(processor.tokenizer, "backend_tokenizer", None)  # type: ignore[attr-defined]
    if backend is None:
        raise BadRequest("the checkpoint's tokenizer has no tokenizer.json form (a fast tokenizer)")
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def bundle_identity(manifest: Bundle) -> Identity:
    """Returns the identity that a manifest states, with the versions that run the model now."""
    packages = ("torch", ENGINE_PACKAGES[manifest.target])
    return Identity(
        name=manifest.name,
        engine=manifest.target,
        layer=manifest.layer,
        decoder_layers=manifest.text_model.layers,
        sha256=manifest_sha256(manifest),
        source_sha256=manifest.source.sha256,
        quantisation=manifest.quantisation,
        versions=manifest.versions | {package: version(package) for package in packages},
    )


def manifest_sha256(manifest: Bundle) -> str:
    """Returns the SHA-256 of a manifest without its attached results, so that attaching results does not change it."""
    content = manifest.model_dump(mode="json", exclude={"parity", "accuracy"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
