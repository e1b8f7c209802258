"""How near a response is to its references: exact match and ROUGE-L, as Super-NaturalInstructions has them."""

import string
from collections.abc import Sequence
from functools import cache


def normalize(text: str) -> str:
    """Lower-case, without ASCII punctuation, white space collapsed; articles stay.

    `normalize_answer` of the Super-NaturalInstructions evaluation (Wang et al. 2022).
    """
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(kept.split())


def exact_match(response: str, references: Sequence[str]) -> float:
    """1.0 where the normalized response equals a normalized reference, else 0.0.

    Raises ValueError without references.
    """
    _refuse_empty(references, "reference")
    return float(normalize(response) in map(normalize, references))


def rouge_l(response: str, references: Sequence[str]) -> float:
    """The largest ROUGE-L F-measure over the references, within [0, 1].

    Google's `rouge_score` with the Porter stemmer on the raw texts, as Super-NaturalInstructions runs it.
    Raises ValueError without references.
    """
    _refuse_empty(references, "reference")
    score = _rouge_scorer().score
    return max(score(reference, response)["rougeL"].fmeasure for reference in references)


@cache
def _rouge_scorer():
    """Imported at first use: it loads NLTK, which takes longer than the rest of this module."""
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def _refuse_empty(items: Sequence[str], what: str) -> None:
    if not items:
        raise ValueError(f"there must be at least one {what}")
