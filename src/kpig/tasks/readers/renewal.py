"""That key parts are read to be found anew, so that old ones are no hindrance."""

from dataclasses import dataclass, field


@dataclass
class Renewal:
    """Whether every entry of key parts is to be made anew, or those alone that no longer fit.

    One whose instruction is another by now is passed over where a program wrote it. With `replaces` every
    entry is.
    """

    replaces: bool
    stale: dict[str, str] = field(default_factory=dict)
    """For each task whose entry no longer fits, where the wordings part."""
