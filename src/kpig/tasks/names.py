"""What may be the name of a task."""

from kpig.errors import DataError
from kpig.tasks.problems import brief

MOST_NAME_CHARACTERS = 200
"""Of a task's name. Chosen: it stands in tables and messages."""

NON_JOINER, JOINER = "\u200c", "\u200d"
"""They have no width, but some scripts are written with them."""


def check_name(name: object, where: str) -> str:
    """`name` itself. Raises DataError unless it is a task name: printable, on one line, not too long.

    What files are named after it: `kpig.files.name_for`.
    """
    if not isinstance(name, str) or not _is_name(name):
        raise DataError(
            f"{where}: {brief(name)} is not a task name; expected a text of 1 to {MOST_NAME_CHARACTERS} "
            "printable characters, without blanks at its ends"
        )
    return name


def _is_name(text: str) -> bool:
    shown = text.replace(JOINER, "").replace(NON_JOINER, "")
    return 0 < len(text) <= MOST_NAME_CHARACTERS and shown.isprintable() and text == text.strip() != ""
