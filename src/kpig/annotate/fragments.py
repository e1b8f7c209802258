"""Fragments: clauses that have no finite verb and ask for something ("JSON only.", "Antonym, one word")."""

import re

from kpig.annotate import labels, lengths, roles, styles
from kpig.annotate.lexicon import FINITE

MOST_WORDS = 16
"""Longer clauses that seem to lack a verb have one that the lexicon does not know. Chosen."""

TELLS = re.compile(
    r"(?:the|an?|this|these|those|that|my|our|your|their|his|her|its|it|we|they|he|she|i|some|many|most|"
    r"all|every|each|"
    r"people|customers?|users?|readers?|clients?|guests?|staff|students?|in|at|on|from|for|by)\b",
    re.IGNORECASE,
)
"""Begins a statement more often than a demand; its verb may be one that the lexicon does not know."""

MOST_WORDS_OF_TITLE = 6
"""Longer ones describe the input more often than they name a task. Chosen."""


def is_fragment(clause: str) -> bool:
    """Whether a clause is short and has no finite verb but those that ask for something after a comma."""
    bare = re.sub(r"[\"“`'][^\"”`']*[\"”`']|\([^()]*\)", "_", clause)
    pieces = [piece for piece in re.split(r"[,;]\s+", bare) if not roles.begins_imperative(piece)]
    return len(clause.split()) <= MOST_WORDS and bool(pieces) and not any(map(FINITE.search, pieces))


def states_form(clause: str) -> bool:
    """Whether one of the pieces of a clause between commas is a form, a limit or a list of labels."""
    pieces = (piece.strip(" .!") for piece in re.split(r"[,;:]\s", clause))
    return labels.is_slashed(clause) or any(
        styles.is_form(piece) or lengths.is_limit(piece) or labels.chooses(piece) for piece in pieces if piece
    )


def is_rule(clause: str) -> bool:
    """Whether a fragment may ask for something though it is no form, and does not begin like a statement."""
    return is_fragment(clause) and not TELLS.match(clause)


def is_title(clause: str) -> bool:
    """Whether a clause may name what is asked for, as a title does ("Keyword extraction")."""
    length = len(clause.split())
    if re.match(r"an?\s", clause, re.IGNORECASE):
        return is_fragment(clause) and length <= MOST_WORDS_OF_TITLE - 2
    return is_rule(clause) and length <= MOST_WORDS_OF_TITLE
