"""Names of the parts of a data set: which are trained on, which tested, which judge the training."""

import re
from collections.abc import Mapping, Sequence

from kpig.tasks.drafts import VALIDATION

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "train_sft": "train",
    "test": "test",
    "testing": "test",
    "test_sft": "test",
    VALIDATION: VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "eval": VALIDATION,
    "evaluation": VALIDATION,
}
"""What the names that people use mean here, in any case."""

SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)")
WORD = re.compile(r"[^\W\d_]+")
MOST_SHARDS = 100_000
"""A number of shards above which it is no such number. Chosen: the five digits that people write."""


def split_of(name: str) -> str | None:
    """The split that a name stands for; None for a name of none."""
    return SPLIT_NAMES.get(name.casefold())


def split_files(names: Sequence[str]) -> dict[str, str]:
    """The splits that the names of a folder's files stand for, without endings: all of them, or none.

    A shard's number is no part of the name, and what all names share beside the split tells nothing. Only
    where a training split is among several are they splits.
    """
    found = {name: _parts(name) for name in names}
    kinds = {split for _, split in found.values()}
    if "" in kinds or "train" not in kinds or len(kinds) == 1:
        return {}
    if len({rest for rest, _ in found.values()}) > 1 and not all(split_of(stem_of(name)) for name in names):
        return {}
    return {name: split for name, (_, split) in found.items()}


def misread(names: Sequence[str]) -> dict[str, str]:
    """The files named as a split that are read as tasks, each with the word; "" for a split of another's.

    That is one beside a training file of the same name otherwise, numbers aside. Of a file by itself, or the
    shards of one, the whole name tells: a word of it may well be the task's.
    """
    stems = {stem_of(name) for name in names}
    if len(stems) == 1:
        return {name: stem for name in names for stem in stems if split_of(stem) not in (None, "train")}
    if split_files(names):
        return {}
    parts = {name: _parts(name) for name in names}
    trained = {_without_numbers(rest) for rest, split in parts.values() if split == "train"}
    words = {name: _word(name) for name, (_, split) in parts.items() if split not in ("", "train")}
    return {name: "" if _without_numbers(parts[name][0]) in trained else word for name, word in words.items()}


def missing_shards(names: Sequence[str]) -> list[str]:
    """The shards without which the others are no whole, by name; they are counted from 0, or else from 1."""
    groups: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        if (match := SHARD.fullmatch(name)) and 0 < int(match[3]) <= MOST_SHARDS:
            groups.setdefault((match[1], match[3]), {})[int(match[2])] = match[2]
    return [
        f"{stem}-{number:0{len(next(iter(present.values())))}}-of-{total}"
        for (stem, total), present in groups.items()
        for number in _numbers(present, int(total))
        if number not in present
    ]


def _numbers(present: Mapping[int, str], total: int) -> range:
    first = 1 if total in present and 0 not in present else 0
    return range(first, first + total)


def stem_of(name: str) -> str:
    """The name without the number of a shard."""
    match = SHARD.fullmatch(name)
    return match[1] if match else name


def _parts(name: str) -> tuple[str, str]:
    """What the name says beside a split, and the split that a word of it names; "" where not one does."""
    stem = stem_of(name)
    if split := split_of(stem):
        return "", split
    words = [match for match in WORD.finditer(stem) if split_of(match[0])]
    if len(words) != 1:
        return stem.casefold(), ""
    (word,) = words
    return (stem[: word.start()] + stem[word.end() :]).casefold(), SPLIT_NAMES[word[0].casefold()]


def _word(name: str) -> str:
    """The word of the name that names a split."""
    return next(match[0] for match in WORD.finditer(stem_of(name)) if split_of(match[0]))


def _without_numbers(rest: str) -> str:
    return re.sub(r"[\d_.\- ]+", " ", rest).strip()
