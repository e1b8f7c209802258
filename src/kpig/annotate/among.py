"""Key parts of one instruction among others: words that several share ask, what differs is their data.

Rows of a chat hold request and data in one text, "Translate into German: Good morning". Alone, the rules
cannot tell the two apart. Beside "Translate into German: The cat sleeps" they can.
"""

import itertools
import re
from collections.abc import Sequence

from kpig.annotate import labels, rules
from kpig.records import KeySpan

BOUNDARY = re.compile(r"(?:[:\n]|[.?!](?=\s)|[\"“”'`](?=\s|$))\s*")
"""Where a request may end and data begin, or the other way round."""

FEWEST_CHARACTERS = 12
"""Shared words that are shorter may be chance: "What is the". Chosen."""

MOST_COMPARED = 4000
"""Characters of a text that are held against another's. Chosen: longer requests there are hardly any."""

COLON = re.compile(r":\s+")
SAYS_HOW = frozenset({"length", "format"})
"""Kinds of key parts that data hardly have by chance."""


def find_all(texts: Sequence[str]) -> dict[str, tuple[KeySpan, ...]]:
    """The key parts of each text, by rules: in the words that it shares with another text, if there are any.

    Where it shares none, what stands behind the last colon is data, unless it lists labels or says how to
    answer. Time grows with the texts' lengths and, for their order, with n log n.
    """
    distinct = list(dict.fromkeys(texts))
    starts = _shared(distinct)
    ends = {one[::-1]: length for one, length in _shared([text[::-1] for text in distinct]).items()}
    return {text: _spans(text, starts[text], ends[text]) for text in distinct}


def _shared(texts: Sequence[str]) -> dict[str, int]:
    """How many characters each text has in common with the beginning of the one that is nearest to it."""
    ordered = sorted(texts)
    common = [0, *(_num_common(*pair) for pair in itertools.pairwise(ordered)), 0]
    return {text: max(common[place], common[place + 1]) for place, text in enumerate(ordered)}


def _num_common(one: str, other: str) -> int:
    pairs = zip(one[:MOST_COMPARED], other[:MOST_COMPARED], strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _spans(text: str, num_first: int, num_last: int) -> tuple[KeySpan, ...]:
    first, last = _end_of_request(text, num_first), _begin_of_request(text, num_last)
    if first > last or not (first or last < len(text)) or _says_how(text[first:last]):
        return _alone(text)
    behind = (KeySpan(one.start + last, one.end + last, one.kind) for one in rules.demanded(text[last:]))
    return (*rules.demanded(text[:first]), *behind) or _alone(text)


def _end_of_request(text: str, num_shared: int) -> int:
    """The last boundary within the shared beginning; 0 where there is none or nothing follows it."""
    ends = [one.end() for one in BOUNDARY.finditer(text) if FEWEST_CHARACTERS <= one.end() <= num_shared]
    return ends[-1] if ends and text[ends[-1] :].strip() else 0


def _begin_of_request(text: str, num_shared: int) -> int:
    """The first boundary within the shared end; the text's length where there is none."""
    lowest, highest = len(text) - num_shared, len(text) - FEWEST_CHARACTERS
    ends = (one.end() for one in BOUNDARY.finditer(text) if lowest <= one.end() <= highest)
    return next((end for end in ends if text[:end].strip()), len(text))


def _alone(text: str) -> tuple[KeySpan, ...]:
    """By the rules, without what stands behind the last colon where that is data."""
    colon = next(reversed(list(COLON.finditer(text))), None)
    if colon is None or labels.is_list(text[colon.end() :]) or _says_how(text[colon.end() :]):
        return rules.find(text)
    return rules.find(text[: colon.start()]) or rules.find(text)


def _says_how(text: str) -> bool:
    """Whether a text says how long or in which form to answer, which data hardly do."""
    return any(one.kind in SAYS_HOW for one in rules.find(text))
