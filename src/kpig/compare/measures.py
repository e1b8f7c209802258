"""What a comparison reads: the scores of a finished run, and what the run has cost."""

from collections.abc import Callable
from dataclasses import dataclass

from kpig.scoring.metrics import computing, next_step
from kpig.scoring.records import Cost, Final, GroupScore, RunScores


@dataclass(frozen=True)
class Measure:
    """A number of a run. `short` heads a column, `better` is "higher", "lower" or "" for a cost.

    `main` measures stand in the first table. `read` returns None where the run did not measure it.
    """

    key: str
    name: str
    short: str
    better: str
    read: Callable[[RunScores], float | None]
    digits: int = 1
    main: bool = False


def _seen(read: Callable[[GroupScore], float | None]) -> Callable[[RunScores], float | None]:
    return lambda scores: scores.final.seen and read(scores.final.seen)


def _held_out(read: Callable[[GroupScore], float | None]) -> Callable[[RunScores], float | None]:
    return lambda scores: scores.final.held_out and read(scores.final.held_out)


def _gap(group: GroupScore) -> float | None:
    return group.new_wording and group.new_wording.wording_gap


def _final(read: Callable[[Final], float | None]) -> Callable[[RunScores], float | None]:
    return lambda scores: read(scores.final)


def _cost(read: Callable[[Cost], float]) -> Callable[[RunScores], float | None]:
    return lambda scores: read(scores.cost)


MEASURES = (
    Measure("p_seen", "P-score, seen", "P seen", "higher", _seen(lambda g: g.p_score), main=True),
    Measure(
        "p_held_out", "P-score, held-out", "P held-out", "higher", _held_out(lambda g: g.p_score), main=True
    ),
    Measure("v_seen", "V-score, seen", "V seen", "lower", _seen(lambda g: g.v_score), main=True),
    Measure(
        "v_held_out", "V-score, held-out", "V held-out", "lower", _held_out(lambda g: g.v_score), main=True
    ),
    Measure("forgetting", "Forgetting", "Forgetting", "lower", _final(lambda f: f.forgetting), main=True),
    Measure(
        "average", "Average P-score over the steps (AR)", "Average", "higher", _final(lambda f: f.average)
    ),
    Measure(
        "backward_transfer",
        "Backward transfer (BWT)",
        "Backward transfer",
        "higher",
        _final(lambda f: f.backward_transfer),
    ),
    Measure(
        "forward_transfer",
        "Forward transfer",
        "Forward transfer",
        "higher",
        _final(lambda f: f.forward_transfer),
    ),
    Measure(
        "next_step",
        "P-score on the next step (FWT without baseline)",
        "Next step",
        "higher",
        lambda scores: next_step(scores.matrix),
    ),
    Measure(
        "half_listening_seen",
        "Half-listening %, seen",
        "Half % seen",
        "lower",
        _seen(lambda g: g.half_listening),
    ),
    Measure(
        "half_listening_held_out",
        "Half-listening %, held-out",
        "Half % held-out",
        "lower",
        _held_out(lambda g: g.half_listening),
    ),
    Measure("gain_seen", "Mean gain, seen", "Gain seen", "higher", _seen(lambda g: g.gain), digits=2),
    Measure(
        "gain_held_out",
        "Mean gain, held-out",
        "Gain held-out",
        "higher",
        _held_out(lambda g: g.gain),
        digits=2,
    ),
    Measure("wording_gap_seen", "Wording gap, seen", "Gap seen", "lower", _seen(_gap)),
    Measure("wording_gap_held_out", "Wording gap, held-out", "Gap held-out", "lower", _held_out(_gap)),
)

COSTS = (
    Measure("updates", "Updates", "Updates", "", _cost(lambda c: c.updates), digits=0),
    Measure("train_tokens", "Train tokens", "Train tokens", "", _cost(lambda c: c.train_tokens), digits=0),
    Measure(
        "forward_tokens",
        "Forward-only tokens",
        "Forward tokens",
        "",
        _cost(lambda c: c.forward_tokens),
        digits=0,
    ),
    Measure("computing", "Computing, tokens", "Computing", "", _cost(computing), digits=0),
    Measure(
        "replayed_examples",
        "Replayed examples",
        "Replayed examples",
        "",
        _cost(lambda c: c.replayed_examples),
        digits=0,
    ),
    Measure("train_seconds", "Training seconds", "Train seconds", "", _cost(lambda c: c.train_seconds)),
    Measure(
        "gain_seconds",
        "of which measuring gain, seconds",
        "Gain seconds",
        "",
        _cost(lambda c: c.gain_seconds),
    ),
    Measure("eval_seconds", "Evaluation seconds", "Evaluation seconds", "", _cost(lambda c: c.eval_seconds)),
    Measure("llm_requests", "LLM requests", "LLM requests", "", _cost(lambda c: c.llm_requests), digits=0),
)

RANKED = ("p_seen", "p_held_out")
"""The measures whose ranks are averaged."""
