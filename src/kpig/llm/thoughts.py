"""Thoughts in an answer: models that reason write them before it, in the same text."""

END = "</think>"
"""Where they end. The mark of their beginning may be missing: some chat templates put it in the prompt."""

BEGIN = "<think>"


def without_thoughts(text: str) -> str:
    """What stands behind the thoughts; nothing where they have no end, all of it where there are none."""
    _, end, behind = text.partition(END)
    if end:
        return behind
    return "" if text.lstrip().startswith(BEGIN) else text
