"""How near a response is to its references: the same text, exact match, and ROUGE-L.

The last two are as Super-NaturalInstructions has them.
"""

import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from kpig.tasks.composition import composed, on_composed

WORDS_IN_BLOCK = 4096
"""Words in an integer of ROUGE-L. Chosen: the integers of a block's words take 2 MB at most."""


def normalize(text: str) -> str:
    """Lower-case, without ASCII punctuation, white space collapsed; articles stay.

    `normalize_answer` of the Super-NaturalInstructions evaluation (Wang et al. 2022).
    """
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(kept.split())


@on_composed
def exact_match(response: str, references: Sequence[str]) -> float:
    """1.0 where the normalized response equals a normalized reference, else 0.0.

    Raises ValueError without references.
    """
    refuse_empty(references, "reference")
    return float(normalize(response) in map(normalize, references))


@on_composed
def exact(response: str, references: Sequence[str]) -> float:
    """1.0 where the response is a reference, case and punctuation included, else 0.0.

    White space at the ends does not count. Raises ValueError without references.
    """
    refuse_empty(references, "reference")
    return float(response.strip() in (reference.strip() for reference in references))


@on_composed
def rouge_l(response: str, references: Sequence[str]) -> float:
    """The largest ROUGE-L F-measure over the references, within [0, 1].

    Google's `rouge_score` with the Porter stemmer on the raw texts, as Super-NaturalInstructions runs it.
    Raises ValueError without references.
    """
    refuse_empty(references, "reference")
    words = _rouge_words()
    answered = words(response)
    return max(_rouge_l_measure(words(reference), answered) for reference in references)


@cache
def _rouge_words() -> Callable[[str], list[str]]:
    """The words of a text as `rouge_score` splits and stems them.

    Imported at first use: it loads NLTK, which takes longer than the rest of this module.
    """
    from rouge_score.tokenizers import DefaultTokenizer

    tokenize: Callable[[str], list[str]] = DefaultTokenizer(use_stemmer=True).tokenize
    return tokenize


def _rouge_l_measure(reference: Sequence[str], response: Sequence[str]) -> float:
    """The F-measure of the longest common subsequence, in the steps of `rouge_score` and to its bits."""
    if not reference or not response:
        return 0.0
    length = _longest_common_subsequence(reference, response)
    precision, recall = length / len(response), length / len(reference)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Its length, with one bit of an integer for each word of `one` (Hyyrö 2004, "Bit-parallel LCS-length").

    `rouge_score` fills a table of all pairs of words: 10,000 by 10,000 take 20 seconds and a gigabyte. Here
    the memory grows with the words alone: they are taken in blocks, which hand on the carries of the sums.
    """
    carries = bytearray(len(other))
    return sum(
        _matched_in_block(one[start : start + WORDS_IN_BLOCK], other, carries)
        for start in range(0, len(one), WORDS_IN_BLOCK)
    )


def _matched_in_block(block: Sequence[str], other: Sequence[str], carries: bytearray) -> int:
    """How much longer the common subsequence grows by a block; `carries` holds a bit per word of `other`."""
    places: dict[str, int] = {}
    for place, word in enumerate(block):
        places[word] = places.get(word, 0) | 1 << place
    every = unmatched = (1 << len(block)) - 1
    for number, word in enumerate(other):
        matched = unmatched & places.get(word, 0)
        total = unmatched + matched + carries[number]
        carries[number] = total >> len(block)
        unmatched = (total | unmatched - matched) & every
    return len(block) - unmatched.bit_count()


def collisions(examples: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """References of different examples that `normalize` makes the same text, or nothing, in groups.

    Texts that are all references of one example are other ways to write the same answer, not a collision.
    """
    distinct = list(
        dict.fromkeys(tuple(composed(reference).strip() for reference in one) for one in examples)
    )
    groups: dict[str, dict[str, None]] = {}
    for references in distinct:
        for reference in references:
            groups.setdefault(normalize(reference), {})[reference] = None
    together: dict[str, int] = {}
    for references in distinct:
        for form, count in Counter(map(normalize, dict.fromkeys(references))).items():
            together[form] = max(together.get(form, 0), count)
    return [tuple(texts) for form, texts in groups.items() if not form or len(texts) > together[form]]


def refuse_empty(items: Sequence[object], what: str) -> None:
    """Raise ValueError where there are no items, each of which is called `what`."""
    if not items:
        raise ValueError(f"there must be at least one {what}")
