"""Texts in composed form: a letter with its accent is the same however it is encoded (Unicode's NFC)."""

import unicodedata
from collections.abc import Callable, Sequence
from functools import wraps

Measure = Callable[[str, Sequence[str]], float]
"""A response and its references, one or more; 1.0 is as good as can be."""


def composed(text: str) -> str:
    """The text in NFC; ASCII is what it was."""
    return unicodedata.normalize("NFC", text)


def on_composed(measure: Measure) -> Measure:
    """The metric, of texts in composed form."""

    @wraps(measure)
    def measured(response: str, references: Sequence[str]) -> float:
        return measure(composed(response), [composed(reference) for reference in references])

    return measured
