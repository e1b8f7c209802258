"""Entries of annotation files: whether one is, to the letter, what a program wrote."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def is_by_hand(entry: object) -> bool:
    """Whether there is an entry of key parts that a hand has made or changed."""
    return entry is not None and not is_intact(entry)


def is_intact(entry: object) -> bool:
    """Whether an entry of key parts is as a program wrote it."""
    return isinstance(entry, Mapping) and entry.get("check") == check(entry)


def check(content: Mapping[str, Any]) -> str:
    """Eight hex digits that stand for definition and key parts."""
    return check_of([content.get("definition"), content.get("key_parts")])


def check_of(values: object) -> str:
    """Eight hex digits that stand for JSON values, so that what a hand has changed is told."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
