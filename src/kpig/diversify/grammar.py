"""The interchangeable pieces of general descriptions: openers, carriers, connectors, closers.  [D]

All carriers take a bare verb ("You need to" + "sort the words"), all ways of giving take what is given
("You are given" + "a list"), so that a piece fits wherever another of its kind stood.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kpig.records import Instruction

# fmt: off
GIVEN = (
    "In this task, you are given ", "In this task, you will be given ", "You are given ",
    "You will be given ", "For this task, you are given ", "For this task, you receive ",
    "You will receive ", "You will see ",
    "You are presented with ", "Here, you are given ", "The input consists of ", "As input, you are given ",
)
CARRIERS = (
    "You need to ", "You should ", "You must ", "You have to ", "Your task is to ", "Your job is to ",
    "Your goal is to ", "The task is to ", "The goal is to ", "You are asked to ", "You are expected to ",
    "Please ", "What you have to do is ",
)
# Later in an instruction, where another "Your task is to" would read as another task.
LATER_CARRIERS = ("You need to ", "You should ", "You must ", "You have to ", "Please ")
PRELUDES = (
    "Here is your task. ", "Your task is as follows. ", "This is your task. ", "The task is as follows. ",
)
# Before an imperative only.
ORDERS = (
    "Please do the following. ", "Do the following. ", "Follow this instruction. ",
    "This is what you have to do. ", "Here is what you need to do. ",
)
CLOSERS = ("The input follows.", "Here is the input.", "The input is given below.", "Now look at the input.",
           "The input comes next.")
IN_THIS_TASK = ("In this task, ", "For this task, ", "In this exercise, ", "Here, ")
# Sets of phrases of which any may stand for any other, at the beginning of a sentence or inside one.
CONNECTORS = (
    ("Note that ", "Keep in mind that ", "Remember that ", "Bear in mind that ", "Be aware that "),
    ("For example, ", "For instance, ", "As an example, "),
    ("that is, ", "in other words, "),
    ("You can do so by ", "You can do this by ", "This can be done by ", "You may do this by "),
    ("This can be accomplished if ", "This can be achieved if ", "You can achieve this if "),
    (" based on your judgment", " according to your judgment", " using your own judgment"),
    ("here are some suggestions:", "here are a few suggestions:", "some suggestions are:"),
    (" are explained below:", " are explained here:", " are described below:"),
    ("Similarly, ", "Likewise, ", "In the same way, "),
    ("In simpler terms, ", "Put simply, ", "In other words, "),
)
# fmt: on

GIVEN_SHAPE = (
    r"(?:(?:In|For) this (?:task|exercise),? )?[Yy]ou(?:'re|'ll be| are| will be| will| should)?"
    r"(?: (?:being )?(?:given|presented with|provided with|shown|get|receive|see)) "
)
CARRIER_SHAPE = (
    r"(?:(?:In|For) this (?:task|exercise),? )?"
    r"(?:(?:[Yy]ou|[Yy]our|[Tt]he)(?: (?:task|job|goal|aim|objective|duty))?(?: now| here)?"
    r" (?:need|have|want|is|are(?: (?:asked|expected|required|supposed|requested|told|going|meant))?) to"
    r"|[Yy]ou (?:should|must|will)|[Pp]lease) "
)
_PREFIX = re.compile(r"^(?:In|For) this (?:task|exercise),? ")


@dataclass(frozen=True)
class Grammar:
    """The pieces to choose from; `given` and `carriers` begin with a capital and end with a space."""

    given: tuple[str, ...] = GIVEN
    carriers: tuple[str, ...] = CARRIERS


def harvest(instructions: Iterable[Instruction], grammar: Grammar | None = None) -> Grammar:
    """The grammar with the openers and carriers found in other instructions.

    Only those of the two shapes are taken: they are made of function words alone, so that nothing that
    one task asks for can slip into another.
    """
    grammar = grammar or Grammar()
    given, carriers = dict.fromkeys(grammar.given), dict.fromkeys(grammar.carriers)
    for instruction in instructions:
        for gap in gaps(instruction):
            for found in re.finditer(r"(?:^|(?<=[.!?] ))" + GIVEN_SHAPE, gap):
                given.setdefault(found.group().replace("task you", "task, you"))
            for found in re.finditer(r"(?:^|(?<=[.!?] ))" + CARRIER_SHAPE + "$", gap):
                carriers.setdefault(capitalized(_PREFIX.sub("", found.group())))
    return replace(grammar, given=tuple(given), carriers=tuple(carriers))


def gaps(instruction: Instruction) -> Iterator[str]:
    """The texts before, between and after the key parts, in order, empty ones included."""
    position = 0
    for span in instruction.key_parts:
        yield instruction.text[position : span.start]
        position = span.end
    yield instruction.text[position:]


def capitalized(text: str) -> str:
    """The text with its first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


def uncapitalized(text: str) -> str:
    """The text with its first letter small, the others as they are."""
    return text[:1].lower() + text[1:]
