"""How much of a response is in a reference, in any script: words, and pieces of words."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import regex

from kpig.errors import ConfigError
from kpig.tasks.composition import on_composed
from kpig.tasks.matching import refuse_empty

WORD = regex.compile(
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}"
    r"\p{Script=Myanmar}]\p{M}*|[\p{L}\p{N}\p{M}]+"
)
"""A run of letters and digits; a single character in scripts that put no spaces between words."""


@on_composed
def token_f1(response: str, references: Sequence[str]) -> float:
    """The largest F1 over the words of the references, in any order, as SQuAD has it (Rajpurkar et al. 2016).

    Case and punctuation do not count. Unlike there, articles count, and scripts without spaces are compared
    by character.  [D] Two texts without words are equal where they are the same text. Raises ValueError
    without references.
    """
    refuse_empty(references, "reference")
    return max(_word_f1(response, reference) for reference in references)


def _word_f1(response: str, reference: str) -> float:
    found, expected = (Counter(WORD.findall(text.casefold())) for text in (response, reference))
    total = found.total() + expected.total()
    return 2 * (found & expected).total() / total if total else float(response.strip() == reference.strip())


@on_composed
def chrf(response: str, references: Sequence[str]) -> float:
    """chrF (Popović 2015): the F-score over pieces of one to six characters, the largest over the references.

    As sacrebleu computes it for a sentence, by 100. Good for every script. Raises ValueError without
    references, ConfigError where sacrebleu is not installed.
    """
    refuse_empty(references, "reference")
    return _chrf()(response, references)


@cache
def _chrf() -> Callable[[str, Sequence[str]], float]:
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise ConfigError(
            "the metric 'chrf' needs sacrebleu; install it with: pip install 'kpig[metrics]'"
        ) from error
    scorer = CHRF()
    return lambda response, references: min(
        1.0, float(scorer.sentence_score(response, list(references)).score) / 100
    )
