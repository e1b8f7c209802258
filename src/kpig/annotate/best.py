"""Key parts by rules, corrected by gain where both are at hand.

Gain knows what a model listens to, rules know what people call a key part. A model that half-listens
would otherwise hide the very parts that it neglects, so a span goes only where its loss clearly costs
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kpig.annotate import by_gain, rules
from kpig.annotate.by_gain import Effects, GainSettings
from kpig.annotate.cost import Cost
from kpig.model.learner import Learner
from kpig.records import Example, KeySpan


@dataclass(frozen=True)
class BestSettings:
    """When gain overrules the rules; every default is [D].

    A clause that the rules left out is added where it costs at least `add_share` of the total. A span of
    the rules is dropped where its cost, alone and together with all others to be dropped, stays below
    `drop_share` of the total even `gain.num_errors` standard errors above its mean.
    """

    add_share: float = 0.3
    drop_share: float = 0.02
    gain: GainSettings = field(default_factory=GainSettings)


def find(
    learner: Learner,
    text: str,
    examples: Sequence[Example],
    ruled: Sequence[KeySpan] | None = None,
    settings: BestSettings | None = None,
) -> tuple[tuple[KeySpan, ...], Cost]:
    """The spans `ruled` (default: those of the rules) as gain corrects them, and what that cost.

    Where the model does not depend on the instruction they are left as they are. Raises DataError as
    `by_gain.find` does.
    """
    settings = settings or BestSettings()
    spans = rules.find(text) if ruled is None else tuple(ruled)
    others = [one for one in by_gain.candidates(text) if not any(_overlap(one, span) for span in spans)]
    effects, cost = by_gain.measure(learner, text, examples, [*spans, *others], settings.gain)
    if not effects.total.is_clear(0.0, settings.gain.num_errors):
        return spans, cost
    strict = replace(settings.gain, share=settings.add_share, pair_share=settings.add_share)
    added = set(by_gain.kept(effects, strict)) & set(others)
    dropped, more = _dropped(learner, text, examples, spans, effects, settings)
    return tuple(sorted((set(spans) - set(dropped)) | added)), cost + more


def _dropped(
    learner: Learner,
    text: str,
    examples: Sequence[Example],
    spans: Sequence[KeySpan],
    effects: Effects,
    settings: BestSettings,
) -> tuple[tuple[KeySpan, ...], Cost]:
    """The spans without any effect; none of them where hiding all of them together has one."""
    idle = tuple(sorted(span for span in spans if _is_idle(span, effects, settings)))
    if len(idle) < 2:
        return idle, Cost()
    found, cost = by_gain.extend(learner, text, examples, effects.found, [idle], settings.gain)
    return (idle if _is_nothing(by_gain.effect(found, (), idle), effects, settings) else ()), cost


def _is_idle(span: KeySpan, effects: Effects, settings: BestSettings) -> bool:
    measured = [effects.alone[span], effects.beside.get(span)]
    return all(_is_nothing(one, effects, settings) for one in measured if one is not None)


def _is_nothing(effect: by_gain.Effect, effects: Effects, settings: BestSettings) -> bool:
    highest = effect.mean + settings.gain.num_errors * effect.error
    return highest < settings.drop_share * effects.total.mean


def _overlap(first: KeySpan, second: KeySpan) -> bool:
    return first.start < second.end and second.start < first.end
