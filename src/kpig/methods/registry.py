"""The table of methods: one line for each. It names them only; `kpig.methods.chosen` loads them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """Where a method lives, as module:Class, and one line about it."""

    target: str
    help: str


def _entry(target: str, help: str) -> Entry:
    return Entry(f"kpig.methods.{target}", help)


METHODS = {
    "kpig": _entry("kpig:Kpig", "replay, uniform or by key-part gain; hold masked twins to a frozen model"),
    "replay": _entry("replay:Replay", "mix in examples drawn uniformly from all past tasks"),
    "derpp": _entry("derpp:DarkExperienceReplay", "replay, and hold replayed outputs to those stored before"),
    "periodic_replay": _entry(
        "periodic_replay:PeriodicReplay", "the same examples gathered into one update out of several"
    ),
    "kmeans_replay": _entry(
        "kmeans_replay:KmeansReplay", "remember the examples nearest to k-means centroids"
    ),
    "dynosaur": _entry("dynosaur:Dynosaur", "replay the past tasks whose instructions are most diverse"),
    "inscl": _entry(
        "inscl:Inscl", "replay past tasks by the distance of their instructions to the current ones"
    ),
    "dynainst": _entry(
        "dynainst:Dynainst", "replay what the model is unsure of, pull its outputs towards uniform"
    ),
    "ssr": _entry("ssr:Ssr", "replay examples that the starting model wrote and the tuned one answered"),
    "radis": _entry("radis:Radis", "learn the starting model's explanations of the responses beside them"),
    "sequential": _entry(
        "sequential:Sequential", "cross-entropy on the current step only: what forgetting costs"
    ),
    "mtl": _entry("mtl:Mtl", "all steps' training data at once; the upper bound"),
    "dare": _entry("dare:Dare", "drop a random part of what a step changed in the weights, rescale the rest"),
    "lm_cocktail": _entry(
        "lm_cocktail:LmCocktail", "after each step, a weighted mean of tuned, starting and earlier weights"
    ),
    "ema": _entry("ema:Ema", "keep a moving average of the weights, its rate fixed or found from gradients"),
    "o_lora": _entry("o_lora:OLora", "a LoRA block for each step, orthogonal to the earlier ones"),
    "osf": _entry("osf:Osf", "learn in the trailing singular directions of each matrix only"),
    "l2": _entry("l2:L2", "a penalty on the distance from the weights before the step"),
    "ewc": _entry("ewc:Ewc", "the same, each weight by its importance to past steps (Fisher)"),
    "tir": _entry("tir:Tir", "the same, held less where past steps are like the present one"),
    "lwf": _entry("lwf:Lwf", "hold the outputs on current inputs to those before the step"),
    "a_gem": _entry("a_gem:AGem", "project the gradient so that the loss on memory does not rise"),
    "migu": _entry("migu:Migu", "update only the output units that answer most strongly"),
    "sdft": _entry("sdft:Sdft", "learn from itself with the response in sight, on its own answers"),
    "adapt_inf": _entry(
        "adapt_inf:AdaptInf", "learn and replay what tells most in each cluster of gradients"
    ),
    "init": _entry("init:Init", "the starting model, untouched"),
}
