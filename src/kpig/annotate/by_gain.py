"""Key parts by information gain: hide each clause of an instruction and see what the answer loses.

No annotation and no LLM is needed, only a causal LM that can do the task to some degree. What the model
does not listen to, it cannot point out: read the result together with `kpig gain`.
"""

import itertools
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kpig.annotate import clauses, kinds, roles
from kpig.annotate.cost import Cost
from kpig.errors import DataError
from kpig.model.batch import Batch, Logits
from kpig.model.encoding import Encoded
from kpig.model.gain import likelihoods
from kpig.model.learner import Learner
from kpig.records import Example, Instruction, KeySpan

Hiding = tuple[KeySpan, ...]
LogLikelihoods = dict[Hiding, list[float]]


@dataclass(frozen=True)
class GainSettings:
    """When a clause counts as a key part; every default is [D], chosen on the built-in suite.

    A clause is kept where hiding it costs at least `share` of what hiding all candidates costs, or at least
    `pair_share` of it on top of another clause that is hidden too: two clauses that say the same cost
    nothing alone. Either must exceed 0 by `num_errors` standard errors; so must the total, or the model does
    not depend on the instruction and nothing is kept. Pairs are formed of the `num_strongest` clauses.
    `hidden_text` stands in place of what is hidden: nothing, because a mask in the general description
    disturbs a model that never saw one there (suite: F1 0.95 with nothing, 0.88 with "_").
    """

    share: float = 0.1
    pair_share: float = 0.2
    num_errors: float = 2.0
    num_strongest: int = 4
    hidden_text: str = ""


@dataclass(frozen=True)
class Effect:
    """What hiding costs: the mean loss of log p over the examples and its standard error, nats per token."""

    mean: float
    error: float

    def is_clear(self, least: float, num_errors: float) -> bool:
        """Whether it reaches `least` and is above 0 by so many standard errors."""
        return self.mean > 0 and self.mean >= max(least, num_errors * self.error)


@dataclass(frozen=True)
class Effects:
    """The effect of hiding all candidates, each alone, and each beside the partner where it costs most.

    `beside` holds those that were hidden in pairs. `found` are the log-likelihoods behind all of them.
    """

    total: Effect
    alone: Mapping[KeySpan, Effect]
    beside: Mapping[KeySpan, Effect]
    found: LogLikelihoods


def find(
    learner: Learner,
    text: str,
    examples: Sequence[Example],
    candidates: Sequence[KeySpan],
    settings: GainSettings | None = None,
) -> tuple[tuple[KeySpan, ...], Cost]:
    """The candidates whose loss costs the answer most, in order, and what finding them cost.

    `examples` give inputs and responses; their own instructions are not looked at. Raises DataError
    without examples, and where instruction and response do not fit the model.
    """
    settings = settings or GainSettings()
    effects, cost = measure(learner, text, examples, candidates, settings)
    return kept(effects, settings), cost


def candidates(text: str) -> tuple[KeySpan, ...]:
    """The clauses of an instruction without their carriers ("Your task is to"), each with a likely kind."""
    found: list[KeySpan] = []
    asked = False
    for clause in clauses.split(text):
        reading = roles.read(text[clause.start : clause.end])
        start, end = clauses.trimmed(text, clause.start + reading.offset, clause.end, clauses.EDGES)
        if start < end:
            first = reading.role == roles.DEMAND and not asked
            asked = asked or first
            found.append(KeySpan(start, end, kinds.of_demand(text[start:end], first)))
    return tuple(found)


def kept(effects: Effects, settings: GainSettings) -> tuple[KeySpan, ...]:
    """The candidates that count as key parts, in order."""
    if not effects.total.is_clear(0.0, settings.num_errors):
        return ()
    alone = _clear(effects.alone, settings.share * effects.total.mean, settings)
    beside = _clear(effects.beside, settings.pair_share * effects.total.mean, settings)
    return tuple(sorted(alone | beside))


def measure(
    learner: Learner,
    text: str,
    examples: Sequence[Example],
    candidates: Sequence[KeySpan],
    settings: GainSettings,
) -> tuple[Effects, Cost]:
    """The effects of hiding the candidates, which must not overlap, and what measuring them cost.

    With C candidates and E examples at most (2 + C + pairs) × E rows are computed, none twice. A pair is
    hidden only where it can still change what is kept. Raises DataError as `find` does.
    """
    if not examples:
        raise DataError("gain needs examples to find key parts; give the task some, or annotate by rules")
    everything = tuple(sorted(candidates))
    hidings = [(), everything, *((span,) for span in everything)]
    found, cost = extend(learner, text, examples, {}, hidings, settings)
    total = effect(found, (), everything)
    alone = {span: effect(found, (), (span,)) for span in everything}
    pairs = _pairs(alone, total, settings)
    found, more = extend(learner, text, examples, found, pairs, settings)
    return Effects(total, alone, _beside(found, pairs), found), cost + more


def extend(
    learner: Learner,
    text: str,
    examples: Sequence[Example],
    found: LogLikelihoods,
    hidings: Iterable[Hiding],
    settings: GainSettings,
) -> tuple[LogLikelihoods, Cost]:
    """`found` and the log-likelihoods of those `hidings` that it lacks, and what these cost."""
    start, tokens = time.perf_counter(), learner.ledger.forward_tokens
    new = [hiding for hiding in hidings if hiding not in found]
    with learner.ledger.timed("gain_seconds"):
        found = found | log_likelihoods(learner, text, examples, new, settings.hidden_text)
    return found, Cost(learner.ledger.forward_tokens - tokens, time.perf_counter() - start)


def effect(found: LogLikelihoods, less: Hiding, more: Hiding) -> Effect:
    """What it costs to hide `more` where `less` is hidden already."""
    losses = [before - after for before, after in zip(found[less], found[more], strict=True)]
    error = statistics.stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else 0.0
    return Effect(statistics.fmean(losses), error)


def _clear(effects: Mapping[KeySpan, Effect], least: float, settings: GainSettings) -> set[KeySpan]:
    return {span for span, found in effects.items() if found.is_clear(least, settings.num_errors)}


def _pairs(alone: Mapping[KeySpan, Effect], total: Effect, settings: GainSettings) -> list[Hiding]:
    """Pairs of the strongest, save those whose clauses are both kept for what they cost alone."""
    strongest = sorted(alone, key=lambda span: -alone[span].mean)[: settings.num_strongest]
    sure = _clear(alone, settings.share * total.mean, settings)
    pairs = itertools.combinations(sorted(strongest), 2)
    return [pair for pair in pairs if not sure.issuperset(pair)]


def _beside(found: LogLikelihoods, pairs: Iterable[Hiding]) -> dict[KeySpan, Effect]:
    """Of each clause in a pair, the largest effect on top of a partner."""
    largest: dict[KeySpan, Effect] = {}
    for first, second in pairs:
        for span, partner in ((first, second), (second, first)):
            marginal = effect(found, (partner,), (first, second))
            if span not in largest or marginal.mean > largest[span].mean:
                largest[span] = marginal
    return largest


def log_likelihoods(
    learner: Learner, text: str, examples: Sequence[Example], hidings: Sequence[Hiding], hidden_text: str
) -> LogLikelihoods:
    """Mean log p of each example's response under the instruction `text` with each hiding, [examples] each.

    Nats per token, end of sequence included; the learner is in evaluation mode. Rows of all hidings share
    batches, sorted by length, and equal rows are computed once. Inputs are cut alike for all hidings.
    """
    inputs = [_fitted(learner, text, example) for example in examples]
    encoded = {
        hiding: [_encoded(learner, Instruction(text, hiding).masked(hidden_text), one) for one in inputs]
        for hiding in hidings
    }
    distinct = {_ids(item): item for items in encoded.values() for item in items}
    means = learner.per_example(list(distinct.values()), _mean_log_probs)
    values = dict(zip(distinct, means, strict=True))
    return {hiding: [values[_ids(item)] for item in items] for hiding, items in encoded.items()}


def _mean_log_probs(batch: Batch, logits: Logits) -> list[float]:
    found = likelihoods(logits.rows, batch.rows.target, batch.example, len(batch.examples))
    return [log for _, log in found]


def _fitted(learner: Learner, text: str, example: Example) -> Example:
    """The example with its input cut as the whole instruction, the longest of all, demands."""
    whole = replace(example, instruction=Instruction(text))
    num_cut = learner.encoder.encode(whole).num_cut
    return replace(whole, input=example.input[: len(example.input) - num_cut])


def _encoded(learner: Learner, text: str, example: Example) -> Encoded:
    return learner.encoder.encode(replace(example, instruction=Instruction(text)))


def _ids(encoded: Encoded) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return encoded.prompt, encoded.response
