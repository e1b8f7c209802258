"""Dolly: `instruction`, `context`, `response`, `category`."""

from collections.abc import Mapping
from typing import Any

from kpig.tasks.readers import alpaca
from kpig.tasks.readers.reading import Stated

OTHER_NAMES = {"response": "output"}


def examples(row: Mapping[str, Any], where: str) -> list[Stated]:
    """One example; the response is the output. Its context is what `columns.with_context` does with any."""
    return alpaca.examples({OTHER_NAMES.get(key, key): value for key, value in row.items()}, where)
