"""The metric of a task that states none, by its responses."""

from collections import Counter
from collections.abc import Iterable, Sequence

from kpig.records import Constraint
from kpig.tasks.matching import collisions
from kpig.tasks.structured import is_number, is_structure

MOST_LABELS = 10
"""Distinct responses up to which a label set counts as closed where none is stated. [D] Chosen; a task with
more labels can state them in a `one_of` constraint, or its metric."""

FEWEST_EXAMPLES_PER_LABEL = 5
"""How often each of them must occur. [D] Chosen: with fewer, a small task of free text could pass for one
with labels."""

MOST_UNREAD = 0.5
"""The share of letters that ROUGE-L may drop and still be the metric that is guessed. Chosen."""


def chosen_metric(
    references: Sequence[Sequence[str]], constraints: Sequence[Constraint], published: bool
) -> str:
    """The metric of a task with these references; ROUGE-L or accuracy where it is `published` so."""
    chosen = choose_metric([one[0] for one in references], constraints)
    if chosen == "rougeL":
        return chosen if published else _free_metric(references)
    return "exact" if collisions(references) else chosen


def _free_metric(references: Sequence[Sequence[str]]) -> str:
    """The metric of responses that are no labels, by what all of them are.  [D]

    "json" for objects and arrays, "number" for numbers alone, "token_f1" where ROUGE-L cannot read half of
    the letters, else "rougeL".
    """
    texts = [text for one in references for text in one]
    if all(map(is_structure, texts)):
        return "json"
    if all(map(is_number, texts)):
        return "number"
    return "token_f1" if share_unread(texts) >= MOST_UNREAD else "rougeL"


def share_unread(texts: Iterable[str]) -> float:
    """The share of the letters and digits that ROUGE-L drops: it reads ASCII only."""
    num_letters = num_read = 0
    for text in texts:
        letters = [character for character in text if character.isalnum()]
        num_letters += len(letters)
        num_read += sum(map(str.isascii, letters))
    return 1 - num_read / num_letters if num_letters else 0.0


def choose_metric(responses: Sequence[str], constraints: Sequence[Constraint] = ()) -> str:
    """ "accuracy" where the label set is closed, else "rougeL" (docs/method.md, section 7).

    The label set counts as closed where a `one_of` constraint states it, or where the responses
    take at most 10 distinct values and each of them occurs at least 5 times.  [D]
    """
    counts = Counter(response.strip() for response in responses)
    few_labels = 0 < len(counts) <= MOST_LABELS and min(counts.values()) >= FEWEST_EXAMPLES_PER_LABEL
    stated = any(constraint.type == "one_of" for constraint in constraints)
    return "accuracy" if stated or few_labels else "rougeL"
