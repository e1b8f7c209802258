"""Closed sets of answers that an instruction may list: every list that its words could be read as."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import regex

from kpig.annotate.demand import QUOTED, unquoted

MAX_LABELS = 60
MAX_LABEL_WORDS = 6
MAX_LIST_CHARACTERS = 400
"""Of a list in one sentence. All three chosen: longer ones are no labels, and reading stays linear."""


@dataclass(frozen=True)
class LabelList:
    """The labels in their order, the words that list them, and whether a word says that one is chosen."""

    values: tuple[str, ...]
    source: str
    is_sure: bool


def find(text: str) -> tuple[LabelList, ...]:
    """All lists of two labels or more, those first that are the surest, none twice."""
    found: dict[tuple[str, ...], LabelList] = {}
    for reader in (
        _quoted_after_cue,
        _after_cue,
        _in_lines,
        _numbered_within,
        _between_marks,
        _quoted,
        _apart,
        _keyed,
        _scales,
        _in_words,
    ):
        for values, source, is_sure in reader(text):
            kept = tuple(dict.fromkeys(value.strip() for value in values if value.strip()))
            if 2 <= len(kept) <= MAX_LABELS and all(len(value.split()) <= MAX_LABEL_WORDS for value in kept):
                found.setdefault(kept, LabelList(kept, source, is_sure))
    return tuple(found.values())


Found = tuple[Sequence[str], str, bool]

# --- quotes ------------------------------------------------------------------------------------------

_QUOTE = regex.compile(QUOTED)
_ANSWER = (
    r"answer|output|label|classify|classified|categori[sz]e|respond|return|reply|write|say|use"
    r"|generate|choose|select|pick|print|"
    r"give|produce|mark|tag|indicate|either|one of|be|between|options?|labels?|categories"
    r"|classes|otherwise|else"
)
_CUE_BEFORE = regex.compile(rf"(?i)\b(?:{_ANSWER})\b[^.!?\n\"“‘`«]{{0,60}}$")
_STOP = regex.compile(r"(?<=[.!?][\"'”’]?)\s+|\n+")


def _quoted_after_cue(text: str) -> Iterator[Found]:
    """Quoted labels that a word for answering stands before, in the whole text and by sentence."""
    marks = list(_QUOTE.finditer(text))
    cued, last = [], None
    for mark in marks:
        joined = (
            last is not None
            and regex.fullmatch(r"\W*(?:and|or)?\W*", text[last.end() : mark.start()]) is not None
        )
        if (joined and last in cued) or _CUE_BEFORE.search(text[max(0, mark.start() - 100) : mark.start()]):
            cued.append(mark)
        last = mark
    if cued:
        yield (
            [_inside(one) for one in cued],
            text[cued[0].start() : cued[-1].end()][:MAX_LIST_CHARACTERS],
            True,
        )


def _quoted(text: str) -> Iterator[Found]:
    start = 0
    for stop in (*(one.start() for one in _STOP.finditer(text)), len(text)):
        yield (
            [_inside(one) for one in _QUOTE.finditer(text, start, stop)],
            text[start:stop].strip()[:MAX_LIST_CHARACTERS],
            False,
        )
        start = stop
    yield [_inside(one) for one in _QUOTE.finditer(text)], text[:MAX_LIST_CHARACTERS], False


def _inside(quote: regex.Match[str]) -> str:
    return unquoted(quote[0]).strip().rstrip(".,;")


_SAID = regex.compile(
    r"(?i:\b(?:output|return|answer|respond|reply|print|say|write|generate|label|classify|mark|else|"
    r"otherwise|and|or)\s+"
    r"(?:(?:with|it|them|as|only|the (?:word|label|number))\s+)*)(?P<label>[A-Z][\w-]{0,30}|\d{1,4})\b"
)


def _apart(text: str) -> Iterator[Found]:
    """Labels that stand apart, each after a word for answering: output 1 if it is, else output 0."""
    found = [(one["label"], one[0]) for one in _SAID.finditer(text)]
    yield [label for label, _ in found], "; ".join(words for _, words in found)[:MAX_LIST_CHARACTERS], False


# --- lists in a sentence -----------------------------------------------------------------------------

_CUE = regex.compile(
    r"(?i)(?P<sure>\b(?:one|any) of(?: the)?(?: (?:following"
    r"|these))?(?: \w+){0,3}?\s*[:–-]?\s+|\bout of\b(?: the following)?(?: \w+){0,2}?:?\s+"
    r"|\b(?:labels?|categories|classes|options|choices|answers?|sentiments?|emotions?|values"
    r"|tags|types)\b[*_]*\s*(?:are|is|:|=|-|–|\()[*_]*\s*"
    r"|\beither\s+|\b(?:answer|reply|respond|say|output|return|write|only|just|choose|select"
    r"|print)(?: only)?(?: with)?(?: the (?:word|letter|number|label)s?)?(?: between| from"
    r"| one of)?:?\s+)"
    r"|:\s*|\b(?:as|into|is|are|whether|between|in|of|be|with|a|an|the|was|if|from|or|about"
    r"|than|for|letters|words|–|-)\s+|[(\[{]|\n+|^"
)
_SEPARATOR = regex.compile(
    r"\s*[,;]\s*(?:and\s+|or\s+|&\s+)?(?:else\s+)?|\s+(?:and|or|vs\.?|versus)\s+|\s*[/|]\s*"
)
_LIST_STOP = regex.compile(r"[.!?](?=\s|$|[\"'”’])|\n|\)(?!\s*[,;/|]|\s+(?:and|or)\b)|[:{}<>]|\s+-+>?\s+")
_TAIL = regex.compile(
    r"(?i)\s+(?:if|when|depending|based|for|to|that|which|in|with|according|on|from|where"
    r"|otherwise|else|respectively|"
    r"as|by|of|only|and nothing|is|are|indicating|using|at|per|but|not|please|after|each"
    r"|without|because|while)\b.*$"
)
_NOUN = regex.compile(
    r"(?i)\s+(?:sentiments?|tones?|tenses?|reviews?|class(?:es)?|categor(?:y|ies)|labels?"
    r"|quer(?:y|ies)|statements?|"
    r"sentences?|answers?|emotions?|questions?)$"
)
_ARTICLE = regex.compile(r"(?i)^(?:an?|the|either|is|as|be)\s+(?=\S)")
_GLOSS = regex.compile(r"\s*\([^()]*\)")
_EDGES = " \t\"'“”‘’`*_.,;:-–()[]«»"


def _after_cue(text: str) -> Iterator[Found]:
    """What a word or mark introduces and separators part; the sure cues first."""
    plain = _GLOSS.sub("", text) if "(" in text else text
    cues = [
        (body, cue) for body in dict.fromkeys((text, plain)) for cue in _CUE.finditer(body, overlapped=True)
    ]
    for body, cue in sorted(cues, key=lambda one: one[1]["sure"] is None):
        end = _LIST_STOP.search(body, cue.end(), cue.end() + MAX_LIST_CHARACTERS)
        words = body[cue.end() : end.start() if end else cue.end() + MAX_LIST_CHARACTERS]
        is_sure = cue["sure"] is not None
        for values in _with_first_cut(_parted(words), is_sure):
            yield values, words.strip(), is_sure
            yield [_NOUN.sub("", value) for value in values], words.strip(), False


def _parted(words: str) -> list[str]:
    """The parts of a list, without articles and what follows its last one; empty where there is only one."""
    parts = _SEPARATOR.split(words)
    values = [_bare(parts[0])]
    for part in parts[1:]:
        tail = _TAIL.search(part)
        value = _bare(part[: tail.start()] if tail else part)
        if not value or len(value.split()) > MAX_LABEL_WORDS:
            break
        values.append(value)
        if tail:
            break
    return values if values[0] and len(values) > 1 else []


def _with_first_cut(values: list[str], is_sure: bool) -> Iterator[list[str]]:
    """The list with its first label cut before one of its words: nothing else shows where it begins.

    The likeliest first: what follows a sure cue is whole, else the label is as long as the longest other.
    """
    if not values:
        return
    first, others = values[0].split(), values[1:]
    longest = max(len(value.split()) for value in others)
    if is_sure and (tail := _TAIL.search(values[0])):
        yield [_bare(values[0][: tail.start()]), *others]
    lengths = (len(first), longest, 1) if is_sure else (longest, 1, 2, 3, len(first))
    for length in dict.fromkeys(min(length, len(first)) for length in lengths):
        yield [_bare(" ".join(first[-length:])), *others]


def _bare(part: str) -> str:
    return str(_ARTICLE.sub("", part.strip(_EDGES)).strip(_EDGES))


_IN_WORDS = regex.compile(
    r"(?<![\w-])[\w-]{1,30}(?:(?:\s*,\s*[\w-]{1,30}){0,12}),?\s+(?:or|and)\s+(?:an?\s+)?[\w-]{1,30}"
)


def _in_words(text: str) -> Iterator[Found]:
    """Single words with commas, 'or' and 'and' between them, anywhere."""
    for found in _IN_WORDS.finditer(text):
        yield _parted(found[0]), found[0], False


_MARKED = regex.compile(
    r"[\w'’+#/-][\w'’+#/ -]{0,40}(?:\|[\w'’+#/ -]{1,40}){1,30}"
    r"|[\w'’+#-]{1,40}(?:\s?/\s?[\w'’+#-]{1,40}){1,30}"
)


def _between_marks(text: str) -> Iterator[Found]:
    for found in _MARKED.finditer(text):
        parts = found[0].split("|" if "|" in found[0] else "/")
        yield [part.strip(_EDGES) for part in parts], found[0].strip(), True


# --- lists in lines ----------------------------------------------------------------------------------

_LINE = regex.compile(r"^\s*(?:[-*+•‣◦–]\s*|(?P<mark>\(?(?:\d{1,2}|[A-Za-z]))[.):]\s+)(?P<label>\S.*)$")
_LABEL_END = regex.compile(r"\s*(?::\s|\s[-–—=]+>?\s|\(|,\s).*$")


def _in_lines(text: str) -> Iterator[Found]:
    """Lines that begin with a bullet, a number or a letter: the labels, or the numbers."""
    block: list[regex.Match[str]] = []
    for line in (*text.splitlines(), ""):
        if found := _LINE.match(line):
            block.append(found)
            continue
        if len(block) > 1:
            yield from _of_marks([(one["mark"] or "", one["label"]) for one in block])
        block = []


_WITHIN = regex.compile(r"(?<![\w.])\(?(\d{1,2}|[A-Za-z])(?:[.)]\s*(?=[\p{L}])|\s*[=:]\s*)")


def _numbered_within(text: str) -> Iterator[Found]:
    """Marks that count on within a line: 1) World 2) Business."""
    for line in text.splitlines():
        run: list[regex.Match[str]] = []
        for mark in _WITHIN.finditer(line):
            if run and not _goes_on(run[-1][1], mark[1]):
                run = []
            run.append(mark)
            if len(run) > 1:
                ends = [*(one.start() for one in run[1:]), len(line)]
                yield from _of_marks(
                    [(one[1], _first(line[one.end() : end])) for one, end in zip(run, ends, strict=True)]
                )


def _goes_on(before: str, after: str) -> bool:
    if before.isdecimal() and after.isdecimal():
        return int(after) == int(before) + 1
    return len(before) == len(after) == 1 and ord(after) == ord(before) + 1


def _first(words: str) -> str:
    return str(regex.split(r"[.;,\n!?](?:\s|$)", words.strip())[0])


def _of_marks(pairs: Sequence[tuple[str, str]]) -> Iterator[Found]:
    labels = [_LABEL_END.sub("", label).strip(_EDGES) for _, label in pairs]
    source = "; ".join(label for _, label in pairs)[:MAX_LIST_CHARACTERS]
    yield labels, source, True
    yield [label.strip(_EDGES) for _, label in pairs], source, True
    yield [mark.strip("(") for mark, _ in pairs], source, True


# --- keys and scales ---------------------------------------------------------------------------------

_KEYED = regex.compile(r"(?<!\w)[\"'“]?([\w+-]{1,20})[\"'”]?\s*(?:[:=]|\bmeans\b|\bfor\b|\bif\b)\s*")
_ENTRY = regex.compile(r"(?<!\w)([\w+-]{1,20})\s+(?:if|for|when|means)\b")
_SCALE = regex.compile(r"(?i)\b(\d{1,3})\s*(?:-|–|to|and|through)\s*(\d{1,3})\b")
_LETTERS = regex.compile(r"\b([A-Z])\s*(?:-|–|to|through)\s*([A-Z])\b")


def _keyed(text: str) -> Iterator[Found]:
    """What stands before ':', '=', 'if', 'for' or 'means': 0: bad, 1: good; 1 if it is, 0 if not."""
    for pattern in (_KEYED, _ENTRY):
        found = [one[1] for one in pattern.finditer(text)]
        for kind in (str.isdecimal, str.isupper, str.isalnum):
            values = [one for one in found if kind(one)]
            yield values, "; ".join(values)[:MAX_LIST_CHARACTERS], False


def _scales(text: str) -> Iterator[Found]:
    for found in _SCALE.finditer(text):
        low, high = int(found[1]), int(found[2])
        if low < high < low + MAX_LABELS:
            yield [str(value) for value in range(low, high + 1)], found[0], False
    for found in _LETTERS.finditer(text):
        if found[1] < found[2]:
            yield [chr(value) for value in range(ord(found[1]), ord(found[2]) + 1)], found[0], False
