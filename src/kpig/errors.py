"""The errors a user can meet; each says what was given, what was expected and what to do."""

import difflib
from collections.abc import Iterable, Sequence


class KpigError(Exception):
    """Something the user can mend. The command line prints it and exits with `exit_code`."""

    exit_code = 1


class UsageError(KpigError):
    """A command that cannot mean anything as it was typed."""

    exit_code = 2


class ConfigError(KpigError):
    """A configuration that cannot be run; the message lists every problem found."""


class DataError(KpigError):
    """A task file, or a task in it, that cannot be used."""


class ModelError(KpigError):
    """A model folder that cannot be loaded or does not fit the job."""


class RunError(KpigError):
    """A run folder that cannot be used as asked."""


class TrainingError(KpigError):
    """Training that must not go on, such as a loss that is not finite."""


def nearest(word: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that `word` is most likely a slip of, if there is one."""
    return next(iter(difflib.get_close_matches(str(word), list(known), 1, cutoff)), None)


def some(names: Sequence[str], limit: int = 3) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
