"""How near a response is to its references: the same text, exact match, and ROUGE-L.

The last two are as Super-NaturalInstructions has them.
"""

import string
from collections.abc import Callable, Iterable, Sequence
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


def exact(response: str, references: Sequence[str]) -> float:
    """1.0 where the response is a reference, case and punctuation included, else 0.0.

    White space at the ends does not count. Raises ValueError without references.
    """
    _refuse_empty(references, "reference")
    return float(response.strip() in (reference.strip() for reference in references))


def rouge_l(response: str, references: Sequence[str]) -> float:
    """The largest ROUGE-L F-measure over the references, within [0, 1].

    Google's `rouge_score` with the Porter stemmer on the raw texts, as Super-NaturalInstructions runs it.
    Raises ValueError without references.
    """
    _refuse_empty(references, "reference")
    measure = _rouge_l_measure()
    return max(measure(reference, response) for reference in references)


@cache
def _rouge_l_measure() -> Callable[[str, str], float]:
    """The F-measure of a reference and a response.

    The scorer is imported at first use: it loads NLTK, which takes longer than the rest of this module.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return lambda reference, response: float(scorer.score(reference, response)["rougeL"].fmeasure)


def collisions(examples: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """References of different examples that `normalize` makes the same text, or nothing, in groups.

    Texts that are all references of one example are other ways to write the same answer, not a collision.
    """
    distinct = list(dict.fromkeys(tuple(reference.strip() for reference in one) for one in examples))
    groups: dict[str, dict[str, None]] = {}
    for references in distinct:
        for reference in references:
            groups.setdefault(normalize(reference), {})[reference] = None
    together: dict[str, int] = {}
    for references in distinct:
        for form in {normalize(reference) for reference in references}:
            count = len({one for one in references if normalize(one) == form})
            together[form] = max(together.get(form, 0), count)
    return [tuple(texts) for form, texts in groups.items() if not form or len(texts) > together[form]]


def _refuse_empty(items: Sequence[str], what: str) -> None:
    if not items:
        raise ValueError(f"there must be at least one {what}")
