"""Answers to look at one by one, as the page's script reads them: all of a run, or an even choice of them."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kpig.model.readings import reading
from kpig.records import KEY_PART_KINDS, NEW_WORDING, Gain
from kpig.report import broken
from kpig.report.answered import Answer, Answered
from kpig.report.prompts import Examples, Pieces, pieces
from kpig.report.text import shortened
from kpig.scoring.meanings.gains import READINGS

MOST_ANSWERS = 12_000
MOST_CHARACTERS = 8_000_000
"""What a page holds at most, over all of its runs. Chosen: about 2 MB of page, and a browser opens it in a
second. The rest stays in the files."""

MOST_PROMPT_CHARACTERS = 6_000
"""Of a prompt that is shown. Chosen: three pages of text."""

Key = tuple[str, str, str, str]
"""What tells an example from any other: task, id, wording, prompt."""


def explorer(answered: Answered, examples: Examples, share: float = 1.0) -> dict[str, Any]:
    """The answers by example, so that each is seen over all steps; `share` is that of the page's room.

    Where they are too many an even choice is kept: every second, third, ... example of each task and
    wording, whatever its score.
    """
    found = _by_example(answered)
    kept = _chosen(found, share)
    return {
        "kinds": list(KEY_PART_KINDS),
        "readings": dict(READINGS),
        "num_examples": len(found),
        "num_answers": sum(map(len, found.values())),
        "examples": [_example(rows, examples) for rows in kept],
    }


def _by_example(answered: Answered) -> dict[Key, list[Answer]]:
    found: dict[Key, list[Answer]] = {}
    for rows in answered.answers.values():
        for one in rows:
            asked = one.prediction
            found.setdefault((asked.task, asked.example, asked.wording, asked.prompt), []).append(one)
    return found


def _chosen(found: Mapping[Key, list[Answer]], share: float) -> list[list[Answer]]:
    """As many examples as there is room for; where there is none for one of each task, of every so many."""
    kept, every = list(found.values()), 1
    longest = max(Counter((task, wording) for task, _, wording, _ in found).values(), default=1)
    while len(kept) > 1 and (fill := _fill(kept) / share) > 1:
        if every < longest:
            every = min(longest, max(every + 1, math.ceil(every * fill)))
            kept = list(_even_choice(found, every))
        else:
            kept = kept[:: math.ceil(fill)]
    return kept


def _fill(rows: Sequence[Sequence[Answer]]) -> float:
    """How full a page is with the answers to these examples."""
    num_characters = sum(map(_num_characters, rows))
    return max(sum(map(len, rows)) / MOST_ANSWERS, num_characters / MOST_CHARACTERS)


def _num_characters(rows: Sequence[Answer]) -> int:
    answers = sum(len(one.prediction.response) + len(one.prediction.masked_response or "") for one in rows)
    return min(len(rows[0].prediction.prompt), MOST_PROMPT_CHARACTERS) + answers


def _even_choice(found: Mapping[Key, list[Answer]], every: int) -> Iterator[list[Answer]]:
    counts: Counter[tuple[str, str]] = Counter()
    for (task, _, wording, _), rows in found.items():
        if counts[task, wording] % every == 0:
            yield rows
        counts[task, wording] += 1


def _example(rows: Sequence[Answer], examples: Examples) -> dict[str, Any]:
    asked = rows[-1].prediction
    known = examples.known(asked)
    return {
        "task": asked.task,
        "id": asked.example,
        "new": asked.wording == NEW_WORDING,
        "prompt": _bounded(pieces(asked, known)),
        "references": [shortened(one) for one in asked.references],
        "rules": broken.demands(known.rules),
        "answers": [_answer(one, known_rules=broken.broken(one.prediction, known)) for one in rows],
    }


def _answer(answer: Answer, known_rules: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Without what is usual: a script reads a missing key as null."""
    one = answer.prediction
    is_same = one.masked_response == one.response
    shown: dict[str, Any] = {
        "step": answer.step,
        "group": one.group,
        "response": shortened(one.response),
        "masked": None if one.masked_response is None or is_same else shortened(one.masked_response),
        "same": is_same,
        "score": None if answer.score is None else round(answer.score, 4),
        "exact": one.exact_match,
        "rouge": round(one.rouge_l, 4),
        "violations": list(dict.fromkeys(one.violations)),
        "broken": known_rules,
        "degenerate": broken.degenerate(one) or None,
        "gain": _gain(one.gain),
    }
    return {name: one for name, one in shown.items() if one is not None and one is not False and one != []}


def _gain(gain: Gain | None) -> list[Any] | None:
    """Gain, log gain, both likelihoods, and what they say together."""
    if gain is None:
        return None
    numbers = (gain.prob, gain.log, gain.instructed, gain.masked)
    return [*(round(one, 4) for one in numbers), reading(gain)]


def _bounded(found: Pieces) -> list[tuple[str, int]]:
    """The pieces up to MOST_PROMPT_CHARACTERS, each with its kind's place among KEY_PART_KINDS, or -1."""
    kept: list[tuple[str, int]] = []
    room = MOST_PROMPT_CHARACTERS
    for text, kind in found:
        kept += [(text[:room], KEY_PART_KINDS.index(kind) if kind in KEY_PART_KINDS else -1)] if room else []
        room = max(0, room - len(text))
    rest = sum(len(text) for text, _ in found) - MOST_PROMPT_CHARACTERS
    return [*kept, (f" … ({rest} more characters)", -1)] if rest > 0 else kept
