"""What was typed, before anything is made of it: text, or refused by name."""

from collections.abc import Sequence

from kpig.errors import UsageError


def require_text(arguments: Sequence[str]) -> None:
    """Raise UsageError naming the first argument with bytes that are no UTF-8.

    Python hides such bytes in halves of surrogate pairs, which no file of a run can hold.
    """
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise UsageError(
                f"{argument!r} holds bytes that are no UTF-8, and files of kpig are UTF-8; "
                "rename the file or folder (mv), or type the value in UTF-8"
            )
