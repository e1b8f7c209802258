"""Every table of the configuration in words, the settings of each method among them."""

from collections.abc import Mapping

from kpig.config.keys import Table, tables
from kpig.config.section import Section
from kpig.config.words import did_you_mean
from kpig.errors import UsageError
from kpig.methods import chosen
from kpig.methods.registry import METHODS


def tables_of(section: str = "") -> list[Table]:
    """The tables that a name stands for: all for "", one with those inside it, or one key alone.

    Methods are loaded, and torch with them, only where the name may be one of theirs. UsageError for a name
    that is neither a table nor a key.
    """
    found = list(tables(_settings() if section.split(".")[0] in ("", "method") else {}))
    if not section:
        return found
    inside = [one for one in found if f"{one.name}.".startswith(f"{section}.")]
    alone = [Table(one.name, one.meaning, tuple(k for k in one.keys if k.name == section)) for one in found]
    chosen_tables = inside or [one for one in alone if one.keys]
    if not chosen_tables:
        known = [name for one in found for name in (one.name, *(key.name for key in one.keys)) if name]
        raise UsageError(_stranger(section, known))
    return chosen_tables


def _stranger(section: str, known: list[str]) -> str:
    method = section.removeprefix("method.")
    if method != section and method in METHODS:
        return f"the method {method!r} has no settings of its own (kpig methods)"
    names = known if "." in section else [name for name in known if "." not in name]
    return f"the configuration has no table and no key {section!r}{did_you_mean(section, names)}"


def _settings() -> Mapping[str, type[Section]]:
    """The settings of every method that has some, by its name."""
    every = {name: chosen.load(name).Settings for name in METHODS}
    return {name: settings for name, settings in every.items() if settings.model_fields}
