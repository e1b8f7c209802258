"""The table of methods. It names them only; `kpig.methods.base.create` loads the one that is asked for."""

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """Where a method lives, and one line about it."""

    target: str
    help: str


METHODS = {
    "kpig": Entry(
        "kpig.methods.kpig:Kpig",
        "replay, uniform or by key-part gain; hold masked twins to a frozen model",
    ),
    "replay": Entry("kpig.methods.rehearsal:Replay", "mix in examples drawn uniformly from all past tasks"),
    "periodic_replay": Entry(
        "kpig.methods.periodic:PeriodicReplay", "the same examples gathered into one update out of several"
    ),
    "kmeans_replay": Entry(
        "kpig.methods.kmeans:KmeansReplay", "remember the examples nearest to k-means centroids"
    ),
    "dynosaur": Entry(
        "kpig.methods.dynosaur:Dynosaur", "replay the past tasks whose instructions are most diverse"
    ),
    "inscl": Entry(
        "kpig.methods.inscl:Inscl",
        "replay past tasks by the distance of their instructions to the current ones",
    ),
    "dynainst": Entry(
        "kpig.methods.dynainst:Dynainst",
        "replay what the model is unsure of, pull its outputs towards uniform",
    ),
    "ssr": Entry(
        "kpig.methods.ssr:Ssr", "replay examples that the starting model wrote and the tuned one answered"
    ),
    "radis": Entry(
        "kpig.methods.radis:Radis", "learn the starting model's explanations of the responses beside them"
    ),
    "sequential": Entry(
        "kpig.methods.plain:Sequential", "cross-entropy on the current step only: what forgetting costs"
    ),
    "mtl": Entry("kpig.methods.plain:Mtl", "all steps' training data at once; the upper bound"),
    "dare": Entry(
        "kpig.methods.merging:Dare",
        "drop a random part of what a step changed in the weights, rescale the rest",
    ),
    "lm_cocktail": Entry(
        "kpig.methods.merging:LmCocktail",
        "after each step, a weighted mean of tuned, starting and earlier weights",
    ),
    "o_lora": Entry(
        "kpig.methods.o_lora:OLora", "a LoRA block for each step, orthogonal to the earlier ones"
    ),
    "l2": Entry("kpig.methods.penalties:L2", "a penalty on the distance from the weights before the step"),
    "ewc": Entry(
        "kpig.methods.penalties:Ewc", "the same, each weight by its importance to past steps (Fisher)"
    ),
    "lwf": Entry(
        "kpig.methods.distillation:Lwf", "hold the outputs on current inputs to those before the step"
    ),
    "a_gem": Entry("kpig.methods.gem:AGem", "project the gradient so that the loss on memory does not rise"),
    "migu": Entry("kpig.methods.migu:Migu", "update only the output units that answer most strongly"),
    "pretrain": Entry(
        "kpig.methods.pretrain:Pretrain", "all data at once, input tokens too: for a model of random weights"
    ),
    "init": Entry("kpig.methods.plain:Init", "the starting model, untouched"),
}


def why_missing(name: str) -> str:
    """Why a method cannot be loaded, as far as can be said without loading it; "" where nothing is wrong."""
    module, _, attribute = name.partition(":")
    if name in METHODS:
        return ""
    try:
        found = bool(module) and importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if found and attribute.isidentifier():
        return ""
    reason = f"there is no module {module!r} on the Python path" if not found else "it names no class"
    return f"[method] {name!r} cannot be loaded: {reason}; expected module:Class, its folder on the path (PYTHONPATH=...)"
