"""How many sentences a text has, in any script, without a model.

The number lies between two where a script has no mark that ends a sentence.
"""

import regex

from kpig.tasks.constraints.lengths import Bounds, is_without_spaces

_LIST_MARK = regex.compile(r"^\s*(?:[-*+•‣◦▪–—·]|\(?\d{1,3}[.):])\s+")
_END = regex.compile(
    r"(?P<mark>[\p{Sentence_Terminal}…]+)(?P<close>[\p{Pf}\p{Pe}\"'*_]*)(?P<gap>\s*)"
    r"[\p{Ps}\p{Pi}\"'*_¿¡+]*(?P<next>[\p{L}\p{M}\p{N}'’]*)"
)
_WORD_BEFORE = regex.compile(r"[\p{L}\p{N}](?:[\p{L}\p{N}]|\.(?=\p{L}))*$")
_DOTTED = regex.compile(r"\p{L}(?:\.\p{L})*")
_LONGEST_ABBREVIATION = 12
_UNSPACED_SENTENCES = regex.compile(r"(?<=[\p{Thai}\p{Lao}])\s+(?=[\p{Thai}\p{Lao}])")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER_LAST = _words(
    "mr mrs ms dr prof rev hon gen col capt cmdr lt sgt sen rep gov pres st mt mme mlle sra srta hr hrn fr "
    "dipl ing z.b d.h u.a e.g i.e cf vs viz approx ca bzw vgl ggf inkl evtl p.ex p.ej op dept est bldg"
)
"""Abbreviations that stand before what they belong to."""

_BEFORE_NUMBERS = _words(
    "no nos nr fig figs vol vols p pp art abs sec ch eq tab tel fax pop ext apt rm jan feb "
    "mar apr jun jul aug sep sept oct nov dec"
)
_MAYBE_LAST = _words("inc ltd co corp bros jr sr ph.d m.d b.a m.a tbsp tsp ave blvd rd")
_BEFORE_SMALL = _words("etc")
"""Abbreviations that end a sentence, except before a small letter."""

_ROMAN = regex.compile("[ivx]+")
_BEGINNERS = _words(
    "the this that these those it he she they we you i a an in on at but and so if when there here what who "
    "how why my our his her its their for as to after before however then also no yes "
    "der die das es er sie wir ich le la les il elle nous je el los ella"
)
"""Words that begin a sentence after an abbreviation: a name or a noun does not."""

_AFTER_ORDINALS = _words(
    "januar februar märz april mai juni juli august september oktober november dezember jahrhundert"
)


def num_sentences(text: str) -> Bounds:
    """Sentences: what ends in a mark of any script (. ! ? 。 ؟ । ...), or with its line.

    A full stop ends none after an abbreviation or an initial, in a number, or before a small letter (which
    tells nothing in a text without capital letters); a mark in quotes ends none where the sentence goes on.
    A line break ends one, unless the next line goes on with a small letter; the mark of a list item belongs
    to the item. Text without a mark is one sentence.
    Thai and Lao have no mark: spaces part sentences and phrases alike, so the number lies between.
    """
    if not regex.search(r"\w", text):
        return Bounds(0, 0)
    has_capitals = regex.search(r"\p{Lu}", text) is not None
    blocks = [_LIST_MARK.sub("", block, count=1) for block in _blocks(text)]
    least = max(1, sum(_num_ended(block, has_capitals) for block in blocks))
    return Bounds(least, least + sum(1 for block in blocks for _ in _UNSPACED_SENTENCES.finditer(block)))


def _blocks(text: str) -> list[str]:
    """The lines that are not blank; one that begins with a small letter goes on with the line before it."""
    blocks: list[list[str]] = []
    goes_on = False
    for line in map(str.strip, text.splitlines()):
        if line and goes_on and line[0].islower():
            blocks[-1].append(line)
        elif line:
            blocks.append([line])
        goes_on = bool(line)
    return [" ".join(lines) for lines in blocks]


def _num_ended(block: str, has_capitals: bool) -> int:
    """Sentences of a block: parts with a letter between the ends of sentences; a number alone is none."""
    found, start = 0, 0
    ends = [end.end("close") for end in _END.finditer(block) if _is_end(block, end, has_capitals)]
    for stop in (*ends, len(block)):
        found += regex.search(r"\p{L}", block[start:stop]) is not None
        start = stop
    return found


def _is_end(block: str, end: regex.Match[str], has_capitals: bool) -> bool:
    mark, close, gap, following = end["mark"], end["close"], end["gap"], end["next"]
    small = following[:1].islower()
    if mark[-1] not in ".!?…":
        return bool(gap) or not (close and following)
    if not gap:
        return is_without_spaces(following[:1]) and not close
    if mark == "." and block[end.start() - 1 : end.start()] == " ":
        return True
    if small and (close or mark[-1] == "…" or mark.endswith("..") or (mark == "." and has_capitals)):
        return False
    return mark != "." or not _is_abbreviation(block, end.start(), following)


def _is_roman(after: str, word: str) -> bool:
    """Whether the text is a Roman number behind this abbreviation: "I" is one behind a volume only."""
    return _ROMAN.fullmatch(after) is not None and (after != "i" or word == "vol")


def _is_abbreviation(block: str, stop: int, following: str) -> bool:
    """Whether the full stop at `stop` belongs to the word before it, by that word and the next."""
    found = _WORD_BEFORE.search(block, max(0, stop - _LONGEST_ABBREVIATION), stop)
    word, after = (found[0].lower() if found else ""), following.lower()
    if word.isdecimal():
        return len(word) <= 2 and after in _AFTER_ORDINALS
    if word in _NEVER_LAST:
        return True
    if word in _BEFORE_NUMBERS:
        return after[:1].isdecimal() or _is_roman(after, word)
    if word in _BEFORE_SMALL:
        return following[:1].islower()
    is_initial = _DOTTED.fullmatch(word) is not None
    return ((is_initial and word not in ("a.m", "p.m")) or word in _MAYBE_LAST) and after not in _BEGINNERS
