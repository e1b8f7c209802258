"""The first screen: what a run is, how far it is, what it learned, lost and cost."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpig.errors import some
from kpig.records import HELD_OUT, SEEN
from kpig.report.grid import Row
from kpig.report.portrait import Portrait
from kpig.report.record import RunRecord
from kpig.report.text import NONE, compact, decimal, signed
from kpig.runs.gate import Change, since_text

LISTENS, HARDLY = 10.0, 30.0
"""Half-listening rates, in percent, up to which a run listens, and from which it hardly does. Chosen: the
tasks of docs/results.md lie between."""


@dataclass(frozen=True)
class Card:
    """One answer of the first screen: its question, a short answer with its tone, and lines beneath."""

    question: str
    answer: str
    tone: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """The first screen of one run."""

    name: str
    state: str
    is_finished: bool
    sentence: str
    facts: tuple[tuple[str, str], ...]
    cards: tuple[Card, ...]


def summary(found: Portrait) -> Summary:
    """What the numbers of a run say."""
    cards = (
        _scored(found, SEEN, "What did it learn?"),
        _scored(found, HELD_OUT, "What can it still do?"),
        _worse(found),
        _listening(found),
        _cost(found.run),
    )
    return Summary(
        name=found.run.name,
        state=state(found.run),
        is_finished=found.run.is_finished,
        sentence=_sentence(found),
        facts=tuple(_facts(found.run)),
        cards=tuple(card for card in cards if card),
    )


def state(run: RunRecord) -> str:
    """Finished, or how far it is."""
    if run.is_finished:
        return f"finished: {run.num_steps} step{'s' * (run.num_steps != 1)}"
    done = run.scores.steps[-1].step
    last = run.events[-1] if run.events else None
    within = f", update {last['update']}" if last and last["step"] == done + 1 else ""
    return f"at step {min(done + 1, run.num_steps)} of {run.num_steps}{within}"


def _sentence(found: Portrait) -> str:
    """The run in one or two sentences."""
    parts: list[str] = []
    for group, lead in ((SEEN, "the tasks it learned"), (HELD_OUT, "tasks it never trained on")):
        row = found.grid.means.get(group)
        now, before = _ends(row, "p")
        if now is not None and row is not None:
            change = "" if before is None else f", {_moved(now - before)}"
            parts.append(f"{'' if parts else 'P-score '}{decimal(now)} on {lead}{change}")
    lead = "; ".join(parts)
    return f"{lead}. {_told_worse(found)}" if lead else _told_worse(found)


def _moved(points: float) -> str:
    if abs(points) < 0.05:
        return "as untuned"
    return f"{'up' if points > 0 else 'down'} {decimal(abs(points))} from the untuned model"


def _told_worse(found: Portrait) -> str:
    if found.verdict is None:
        return "Whether something got worse cannot be told."
    names = list(dict.fromkeys(one.task for one in found.verdict.worse))
    if not names:
        return "Nothing got worse beyond noise."
    return f"{len(names)} task{'s' * (len(names) != 1)} got worse beyond noise: {some(names)}."


def _scored(found: Portrait, group: str, question: str) -> Card | None:
    row = found.grid.means.get(group)
    now, before = _ends(row, "p")
    if row is None or now is None:
        return None
    count, what = _members(found, group)
    lines = [f"P-score on {count} {what} task{'s' * (count != 1)}, {_plus(row, 'p')}"]
    if before is not None and len(row.values["p"]) > 1:
        lines.append(f"{decimal(before)} untuned: {signed(now - before)}")
    broken, untuned = _ends(row, "v")
    lines.append(f"{decimal(broken)} % of answers break a rule, {decimal(untuned)} untuned")
    tone = _tone(row, now, before)
    return Card(question, decimal(now), tone, tuple(lines))


def _members(found: Portrait, group: str) -> tuple[int, str]:
    """How many tasks a group has after the last step, and what they are called."""
    rows = [one for one in found.grid.tasks if one.values["p"][-1] is not None]
    if group == HELD_OUT:
        return sum(one.learned == 0 for one in rows), "held-out"
    if len(found.grid.steps) == 1:
        return sum(one.learned is None for one in rows), "still unlearned"
    return sum(bool(one.learned) for one in rows), "learned"


def _tone(row: Row, now: float, before: float | None) -> str:
    """Good or bad where the change is larger than two standard errors of both ends together."""
    ends = [one for one in (row.errors["p"][-1], row.errors["p"][0]) if one is not None]
    if before is None or len(ends) < 2 or abs(now - before) <= 2 * math.hypot(*ends):
        return ""
    return "good" if now > before else "bad"


def _plus(row: Row, measure: str) -> str:
    error = row.errors[measure][-1]
    return "error not known" if error is None else f"±\u00a0{decimal(error)}"


def _worse(found: Portrait) -> Card:
    question, lost = "What got worse?", found.run.scores.final.forgetting
    forgotten = [] if lost is None else [f"{decimal(lost)} points forgotten, from a step's best to the end"]
    if found.verdict is None:
        return Card(question, "not known", "", (found.why, *forgotten))
    verdict = found.verdict
    names = list(dict.fromkeys(one.task for one in verdict.worse))
    shown = {one.task: one for one in reversed(verdict.worse)}
    lines = [_drop(shown[name]) for name in names[:3]]
    if len(names) > 3:
        lines.append(f"and {len(names) - 3} more")
    if not names:
        lines.append("no task beyond noise, against the step before and the untuned model")
    if verdict.undecided:
        count = len({one.task for one in verdict.undecided})
        lines.append(f"{count} lost more than {verdict.max_drop:g} points within noise")
    total = len({one.task for one in verdict.changes})
    tone = "bad" if names else "good"
    return Card(question, f"{len(names)} of {total} tasks", tone, (*lines, *forgotten))


def _drop(one: Change) -> str:
    return f"{one.task}: {decimal(one.points)} ± {decimal(one.error)} since {since_text(one.since)}"


def _listening(found: Portrait) -> Card | None:
    row = found.grid.means.get(SEEN) or found.grid.means.get(HELD_OUT)
    rate, before = _ends(row, "half")
    if row is None or rate is None:
        return None
    answer, tone = (
        ("yes", "good") if rate <= LISTENS else ("hardly", "bad") if rate >= HARDLY else ("in part", "warn")
    )
    lines = [f"{decimal(rate)} % of answers stay the same without the key parts, {decimal(before)} untuned"]
    held_out, _ = _ends(found.grid.means.get(HELD_OUT), "half")
    if held_out is not None and row is found.grid.means.get(SEEN):
        lines.append(f"{decimal(held_out)} % on held-out tasks")
    gain, untuned = _ends(row, "gain")
    if gain is not None:
        lines.append(f"key parts are worth {decimal(gain, 2)} of probability, {decimal(untuned, 2)} untuned")
    return Card("Does it listen?", answer, tone, tuple(lines))


def _cost(run: RunRecord) -> Card:
    cost = run.scores.cost
    lines = [
        f"{cost.updates:,} updates, {compact(cost.train_tokens)} tokens trained on",
        f"{compact(cost.forward_tokens)} tokens only read, {cost.replayed_examples:,} examples replayed",
        f"{duration(cost.eval_seconds)} of evaluation besides",
    ]
    return Card("What did it cost?", duration(cost.train_seconds), "", tuple(lines))


def duration(seconds: float) -> str:
    """Seconds as a reader says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _ends(row: Row | None, measure: str) -> tuple[float | None, float | None]:
    """The value after the last step, and that of the untuned model."""
    values = row.values[measure] if row else ()
    return (values[-1], values[0]) if values else (None, None)


def _facts(run: RunRecord) -> list[tuple[str, str]]:
    model = _table(run.config, "model")
    names = [task for step in run.scores.steps for task in step.tasks]
    held_out = [name for name, score in run.scores.steps[-1].tasks.items() if score.group == HELD_OUT]
    adapter = f", {model['adapter']}" if model.get("adapter") not in (None, "none") else ""
    num_tasks = len(set(names)) - len(held_out)
    stream = run.stream.get("name", NONE)
    return [
        ("Model", f"{model.get('path', NONE)}{adapter}"),
        ("Method", f"{run.scores.method}, seed {run.scores.seed}"),
        ("Stream", f"{stream}: {run.num_steps} steps, {num_tasks} tasks, {len(held_out)} held out"),
        ("Date", _date(run)),
        ("Scored by", run.scores.scorer),
    ]


def _date(run: RunRecord) -> str:
    """When the last update was done; where no update has a time, when the run began."""
    times = [event["t"] for event in run.events if isinstance(event.get("t"), int | float)]
    if times and 0 <= times[-1] < 2**33:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(times[-1]))
    return str(run.environment.get("clock", NONE))


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}
