"""Texts as words: white space and case aside, by their beginnings, in their irregular forms."""

import re
from collections.abc import Mapping, Sequence
from functools import cache

import regex

from kpig.tasks.composition import composed
from kpig.tasks.constraints.lengths import is_without_spaces


def squash(text: str) -> str:
    """The text in lower case, every run of white space one space, none at the ends."""
    return " ".join(text.lower().split())


def split_words(text: str) -> list[str]:
    """Lower-case words without a possessive 's; apostrophes and hyphens inside a word stay."""
    found = re.findall(r"[^\W_]+(?:['\u2019-][^\W_]+)*", text.lower())
    return [re.sub(r"['\u2019]s$", "", word) for word in found]


def word_stems(text: str) -> set[str]:
    """The first four letters of every word of three letters or more."""
    return {word[:4] for word in split_words(text) if len(word) > 2}


def has_phrase(phrase: str, text: str, case_sensitive: bool) -> bool:
    """Whether the phrase stands in the text as whole words, in any spacing and form of apostrophe.

    Underscores part words where they stand around them, as emphasis does, not between letters.
    A phrase of other characters than letters and digits, or of a script without spaces, stands anywhere.
    """
    wanted, within = (_written_alike(one, case_sensitive) for one in (phrase, text))
    before, after = (
        r"(?<![^\W_]_*)" if _is_bounded(wanted[:1]) else "",
        r"(?!_*[^\W_])" if _is_bounded(wanted[-1:]) else "",
    )
    return regex.search(before + regex.escape(wanted, literal_spaces=True) + after, within) is not None


def _written_alike(text: str, case_sensitive: bool) -> str:
    plain = composed(" ".join(text.split())).replace("\u2019", "'")
    return plain if case_sensitive else plain.casefold()


def _is_bounded(character: str) -> bool:
    return re.match(r"\w", character) is not None and not is_without_spaces(character)


def occurs(item: str, words: Sequence[str]) -> bool:
    """Whether a word begins like the item (its last letter aside, 3 or 4 letters) or is an irregular form."""
    beginning = item[: max(3, min(4, len(item) - 1))]
    irregular = _irregular_forms().get(item, ())
    return any(word.startswith(beginning) or word in irregular for word in words)


IRREGULAR_FORMS = """
be is was are were been; blow blew blown; break broke broken; bring brought; build built; buy bought;
catch caught; child children; die dying dies; draw drew drawn; drink drank drunk; drive drove driven;
eat ate eaten; fall fell fallen; feed fed; fight fought; find found; fly flew flown; foot feet;
get got; give gave given; go went gone; goose geese; grow grew grown; hang hung; have has had; hold held;
keep kept; knife knives; know knew known; lay laid; lead led; leaf leaves; leave left; lie lying lay;
life lives; lose lost; make made; man men; meet met; mouse mice; pay paid; person people;
ride rode ridden; ring rang rung; rise rose risen; run ran; say said; see saw seen; sell sold; send sent;
shake shook shaken; shine shone; shoot shot; sing sang sung; sit sat; ski skiing skis skier; sleep slept;
speak spoke spoken; spend spent; stand stood; steal stole stolen; stick stuck; strike struck; sweep swept;
swim swam swum; take took taken; teach taught; tear tore torn; tell told; think thought;
throw threw thrown; tie tying tied ties; tooth teeth; use using used; wake woke woken; wear wore worn;
win won; wind wound; wolf wolves; woman women; write wrote written
"""


@cache
def _irregular_forms() -> Mapping[str, tuple[str, ...]]:
    """The word as an input gives it, with the forms that begin otherwise."""
    entries = (entry.split() for entry in IRREGULAR_FORMS.split(";"))
    return {word: tuple(forms) for word, *forms in entries}
