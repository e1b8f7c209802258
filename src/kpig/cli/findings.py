"""What `kpig annotate` tells of the key parts that it found, and of those that it did not find."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kpig.cli.app import print_counts
from kpig.cli.screen import say, show
from kpig.errors import some
from kpig.records import Instruction, Task

if TYPE_CHECKING:
    from kpig.annotate.job import Annotation

MOST_SHOWN = 300
"""Characters of what is wrong with an answer. Chosen: a server's own words fit."""

OTHERS = {"llm": "by rules", "gain": "--by rules or --by llm"}
"""What else to try where a way finds nothing; the rules read English."""


def tell(found: "Annotation", texts: Mapping[str, str]) -> None:
    """The seed instructions `texts` by task with their key parts, what was rejected, and what it cost."""
    show(table(found, texts))
    tell_rejected(found)
    if found.cost.requests:
        say(f"paid for {found.cost.requests} requests, {found.cost.llm_tokens} tokens")
    if found.cost.forward_tokens:
        say(f"gain read {found.cost.forward_tokens} tokens in {found.cost.seconds:.1f} s")


def table(found: "Annotation", texts: Mapping[str, str]) -> Table:
    """The seed instructions `texts` by task: how many key parts they have, of which kinds."""
    from kpig.tasks import coverage

    table = Table("task", "key parts", "share of the text", "kinds", title="key parts", title_justify="left")
    for name, text in texts.items():
        spans = found.spans.get(name, ())
        share = coverage.share(Instruction(text, spans))
        kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(span.kind for span in spans).items())
        table.add_row(
            Text(name),
            str(len(spans)) if name in found.spans else "none found",
            f"{100 * share:.0f} %",
            kinds,
        )
    return table


def tell_rejected(found: "Annotation") -> None:
    """How often each reason occurs, and what was wrong the first time."""
    print_counts("rejected", found.num_rejected)
    firsts: dict[str, str] = {}
    for name, rejections in found.rejections.items():
        for one in rejections:
            firsts.setdefault(one.reason, f"  {name}: {one.message}")
    for line in firsts.values():
        say(line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]}...")


def tell_further(found: "Annotation", tasks: Sequence[Task], by: str) -> None:
    """How many instructions beside the seeds have key parts now: given wordings, and single examples' own."""
    from kpig.tasks.drafts import OWN

    how = "by the chat model" if by == "llm" else "by rules"
    for is_own in (False, True):
        counts = {}
        for task in tasks:
            further = _further(task, is_own)
            with_parts = {one.text for one in found.own.get(task.name, ()) if one.key_parts}
            if further:
                counts[task.name] = (sum(one.text in with_parts for one in further), len(further))
        if not counts:
            continue
        count, total = (sum(column) for column in zip(*counts.values(), strict=True))
        none = f" and none in {total - count}" if count < total else ""
        if is_own:
            say(
                f"note: in {len(counts)} of them ({some(list(counts))}) examples have instructions of their "
                f"own: key parts of {count} more were found {how}{none}, under '{OWN}'; no constraints are "
                "proposed for them, state 'constraints' in their rows"
            )
        else:
            say(
                f"note: {len(counts)} of them ({some(list(counts))}) have further wordings: key parts of "
                f"{count} more were found{none}, under '{OWN}'"
            )


def _further(task: Task, is_own: bool) -> list[Instruction]:
    from kpig.annotate.job import further
    from kpig.tasks.drafts import GIVEN

    own = set(task.own_instructions)
    return [one for one in further(task) if (one in own and one.origin != GIVEN) == is_own]


def tell_bare(names: Sequence[str], by: str) -> None:
    """The tasks without key parts, and what to do about it."""
    if names:
        other = OTHERS.get(by, "--by llm")
        gain = "" if by == "gain" else "--by gain with a model of yours, or "
        say(
            f"note: none were found in {len(names)} of them ({some(names)}): write them by hand, or try "
            f"{gain}{other} (rules read English)"
        )


def raise_if_useless(found: "Annotation") -> None:
    """Raise LlmError where nothing could be read from any answer: it would look like success."""
    from kpig.llm import LlmError

    if found.rejections and not found.spans and not any(found.own.values()):
        reasons = ", ".join(f"{reason} {count}" for reason, count in found.num_rejected.most_common())
        raise LlmError(
            f"no answer could be read ({reasons}). None is kept: give the same command again to ask anew, or "
            "name another model"
        )
