"""Lengths: the phrases that bound how long an answer is ("in at most three sentences", "one word")."""

import re

_NUMBER = (
    r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|"
    r"fifty|sixty|seventy|eighty|ninety|(?:a\s+)?hundred|(?:a\s+)?dozen|a\s+few|a\s+couple\s+of|several)"
)
_BOUND = (
    r"(?:(?:at|no|not)\s+(?:most|least|more\s+than|fewer\s+than|less\s+than|longer\s+than|shorter\s+than|"
    r"exceeding|above|over)|exactly|precisely|up\s+to|under|below|within|(?:fewer|less|more|longer|"
    r"shorter)\s+than|"
    r"only|about|around|approximately|roughly|max(?:imum)?\.?(?:\s+of)?|min(?:imum)?\.?(?:\s+of)?|(?:a|"
    r"the)\s+"
    r"(?:maximum|minimum|limit|total)\s+of|a\s+single|just|not\s+more\s+than|between|either)"
)
_UNIT = (
    r"(?:words?|sentences?|tokens?|characters?|chars?|letters?|lines?|paragraphs?|syllables?|"
    r"bullets?(?:\s+points?)?|"
    r"bullet\s+points?|points|items?|entries|examples|suggestions?|ideas|options|names|titles|hashtags|"
    r"keywords|steps|tags|verses|stanzas|questions|facts|phrases?|clauses?)\b"
)
_NUMBERS = rf"{_NUMBER}(?:\s*(?:-|–|to|or|and)\s*{_NUMBER})?"
_LATER = (
    r"(?:\s+(?:or\s+(?:fewer|less|more)|at\s+(?:most|the\s+most|least)|max(?:imum)?\b\.?|in\s+total|long|"
    r"only|each))"
)
AMOUNT = (
    rf"(?:{_BOUND}\s+)*{_NUMBERS}(?:\s+|-(?!letter|character|line\b))"
    rf"(?:(?!(?:of|per|on|a|an|to)\b)\w+\s+)?{_UNIT}{_LATER}*"
)
_LED = rf"(?:in|within|to|as|with|using|into|of)\s+(?:{AMOUNT}|{_BOUND}\s+{_UNIT})"
_TOLD = r"(?:very\s+)?(?:short|brief|concise|succinct)(?:ly)?\b|in\s+(?:brief|short)\b"
LED_LIMIT = re.compile(_LED, re.IGNORECASE)
"""A limit behind its preposition; it may follow an operation without a comma."""

BOUNDED = re.compile(
    rf"(?:under|below|within|up\s+to|at\s+most|no\s+(?:more|longer)\s+than|"
    rf"not\s+exceeding)\s+{_NUMBERS}[\s-]+{_UNIT}",
    re.IGNORECASE,
)
"""A limit that needs neither preposition nor comma before it."""

LIMIT_START = re.compile(
    rf"(?:(?:each|all|both)\s+)?(?:{_LED}|{AMOUNT}|{_TOLD}|(?:keep|make)\s+it\s+(?:{_TOLD}))"
    rf"|{_BOUND}\s+{_NUMBER}(?:\s+in\s+total)?\W*$"
    rf"|{_NUMBER}\s+{_UNIT}\s+tops\b"
    rf"|(?:{_BOUND}\s+)?{_NUMBER}\s+or\s+{_NUMBER}\s+{_UNIT}"
    r"|(?:it|this|that|(?:the|your)\s+\w+)\s+(?:must|should|may|has\s+to|can|needs\s+to)\s+(?:not\s+)?"
    r"(?:fit|exceed|be\s+(?:longer|shorter|limited|kept|at\s+most|under))\b",
    re.IGNORECASE,
)
"""The text from here on is a limit."""

KEPT = re.compile(
    rf"(?:always\s+)?(?:keep|limit|restrict|cap)\s+(?:\S+\s+){{1,4}}?(?:{_LED}|"
    rf"{_BOUND}\s+{_NUMBERS}[\s-]+{_UNIT}|{_TOLD})",
    re.IGNORECASE,
)
"""A demand of its own that bounds a length ("Keep replies under 30 words")."""


SUFFICES = re.compile(
    rf"(?P<limit>(?:{_BOUND}\s+)*{_NUMBERS}[\s-]+(?:\w+\s+)?{_UNIT})\s+(?:is|are|will|would|should|must|"
    rf"suffices?)\s*"
    r"(?:be\s+)?(?:enough|fine|ok|okay|sufficient|plenty|do\b|suffice|$)",
    re.IGNORECASE,
)
"""A sentence that says no more than that a limit is enough."""


def is_limit(piece: str) -> bool:
    """Whether a piece of a clause, without what it is joined by, does little more than bound a length."""
    return bool(LIMIT_START.match(piece))
