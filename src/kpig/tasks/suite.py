"""The built-in suite: a compositional family of word-list tasks with exact gold, key parts and constraints.

A task is an operation ("reverse the order of the words") and an output demand ("write the answer in
square brackets"). All tasks share their general description and draw their inputs from one
distribution, so nothing but the key parts tells them apart. Every list has words of different lengths
and different first letters, so that every operation has exactly one right answer.

Compositions fall into two fixed parts. The *base* skills (every operation alone, every demand on the
copied list, and two demands of each operation) are what the shipped tiny model was trained on; streams
and held-out tasks are drawn from the rest.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from kpig.records import Constraint, Example, Instruction, KeySpan, Stream, Task

# fmt: off
WORDS = tuple(
    [
        "ant", "box", "cup", "dog", "egg", "fox", "hat", "ink", "jar", "key", "log", "map", "net", "owl",
        "pig", "sun",
        "bird", "coat", "desk", "fish", "gate", "hill", "iron", "kite", "lamp", "moon", "nest", "pond",
        "rope", "ship", "tree", "wolf",
        "apple", "bread", "chair", "drink", "earth", "field", "glass", "horse", "judge", "knife", "lemon",
        "mouse", "ocean", "piano", "river", "stone",
        "anchor", "basket", "candle", "dragon", "engine", "forest", "garden", "hammer", "island", "jacket",
        "kitten", "ladder", "mirror", "needle", "orange", "pencil",
        "airport", "balloon", "cabinet", "diamond", "evening", "feather", "giraffe", "harvest", "justice",
        "kitchen", "lantern", "morning", "network", "octopus", "pumpkin", "rainbow",
        "airplane", "bachelor", "calendar", "daughter", "elephant", "festival", "geometry", "hospital",
        "interest", "junction", "keyboard", "language", "mountain", "notebook", "painting", "quantity",
    ]
)
"""16 words of each length from 3 to 8 letters."""

MIN_LIST, MAX_LIST = 3, 5
"""Words in a list. Three, so that first, second and last are three words; five of the six lengths there are,
since no two words of a list have the same. The tokenizer and the shipped model were made with these."""

COUNT_WORDS = {3: "three", 4: "four", 5: "five"}
NUM_TRAINED_WORDINGS = 4
"""The first so many wordings of each part are trained on; the last is kept for evaluation."""


@dataclass(frozen=True)
class Operation:
    """What to do with the words. The last wording is kept for evaluation.

    `offset` is the length of the result less that of the list, `fixed` its length where that is constant.
    """

    name: str
    apply: Callable[[list[str]], list[str]]
    wordings: tuple[str, ...]
    fixed: int | None = None
    offset: int = 0


@dataclass(frozen=True)
class Demand:
    """How to write the answer. The last wording is kept for evaluation; "plain" has none."""

    name: str
    render: Callable[[list[str]], str]
    wordings: tuple[str, ...]
    constraints: tuple[Constraint, ...] = ()
    separator: str = " "


GENERAL = (
    "You are given a list of words. Your task is to {operation}.{demand}",
    "Below is a row of words. You should {operation}.{demand}",
    "The input is a list of words. Please {operation}.{demand}",
    "Here is a row of words. You must {operation}.{demand}",
    "You are given a row of words. Please {operation}.{demand}",
)

OPERATIONS = (
    Operation("copy", lambda w: w, (
        "copy the list as it is", "write all the words without a change", "copy all the words",
        "write the list as it is", "copy the words without a change")),
    Operation("first", lambda w: w[:1], (
        "give the first word", "write only the first word of the list", "pick the word at the start",
        "name the word that comes first", "write only the word at the start"), fixed=1),
    Operation("last", lambda w: w[-1:], (
        "give the last word", "write only the last word of the list", "pick the word at the end",
        "name the word that comes last", "write only the word at the end"), fixed=1),
    Operation("second", lambda w: w[1:2], (
        "give the second word", "write only the second word of the list", "pick the word after the first one",
        "name the word that comes second", "pick the second word of the list"), fixed=1),
    Operation("longest", lambda w: [max(w, key=len)], (
        "give the longest word", "write only the longest word of the list",
        "pick the word with the most letters",
        "name the word that is longest", "write only the word with the most letters"), fixed=1),
    Operation("shortest", lambda w: [min(w, key=len)], (
        "give the shortest word", "write only the shortest word of the list",
        "pick the word with the fewest letters",
        "name the word that is shortest", "write only the word with the fewest letters"), fixed=1),
    Operation("earliest", lambda w: [min(w)], (
        "give the word that is earliest in the alphabet", "write only the alphabetically first word",
        "pick the word that a dictionary lists first", "name the earliest word of the alphabet",
        "pick the alphabetically first word"), fixed=1),
    Operation("latest", lambda w: [max(w)], (
        "give the word that is latest in the alphabet", "write only the alphabetically last word",
        "pick the word that a dictionary lists last", "name the latest word of the alphabet",
        "pick the alphabetically last word"), fixed=1),
    Operation("ends", lambda w: [w[0], w[-1]], (
        "give the first and the last word", "write only the two words at the ends",
        "keep the first and the last word only",
        "name the words at both ends", "keep only the two words at the ends"), fixed=2),
    Operation("reverse", lambda w: w[::-1], (
        "reverse the order of the words", "write the words backwards", "turn the list around",
        "list the words from the end to the start", "write the list backwards")),
    Operation("sort", sorted, (
        "sort the words by the alphabet", "put the words in alphabetical order",
        "list the words alphabetically",
        "write the words as a dictionary orders them", "put the list in alphabetical order")),
    Operation("sort_length", lambda w: sorted(w, key=len), (
        "sort the words by length", "put the words in order from shortest to longest",
        "list the words by the number of letters",
        "write the short words before the long ones", "list the words from shortest to longest")),
    Operation("drop_first", lambda w: w[1:], (
        "remove the first word", "drop the word at the start", "leave out the first word",
        "write all words except the first", "drop the first word"), offset=-1),
    Operation("drop_last", lambda w: w[:-1], (
        "remove the last word", "drop the word at the end", "leave out the last word",
        "write all words except the last", "drop the last word"), offset=-1),
    Operation("drop_longest", lambda w: [x for x in w if x != max(w, key=len)], (
        "remove the longest word", "drop the word with the most letters", "leave out the longest word",
        "write all words except the longest", "drop the longest word"), offset=-1),
    Operation("swap", lambda w: [w[-1], *w[1:-1], w[0]], (
        "swap the first and the last word", "let the words at both ends change places",
        "exchange the first and the last word",
        "swap the words at the ends", "exchange the words at both ends")),
    Operation("rotate", lambda w: [*w[1:], w[0]], (
        "move the first word to the end", "put the first word last",
        "take the first word and write it at the end",
        "move the word at the start to the end", "take the first word and put it last")),
    Operation("repeat_first", lambda w: [w[0], *w], (
        "repeat the first word", "write the first word twice and then the others", "double the first word",
        "say the first word two times", "write the first word two times and then the others"), offset=1),
    Operation("double", lambda w: [x for x in w for _ in range(2)], (
        "repeat every word", "write every word twice", "double every word", "say every word two times",
        "write every word two times"), offset=0),
    Operation("count", lambda w: [COUNT_WORDS[len(w)]], (
        "count the words", "say how many words there are", "give the number of words",
        "tell how long the list is", "tell how many words there are"), fixed=1),
)

DEMANDS = (
    Demand("plain", " ".join, ()),
    Demand("upper", lambda w: " ".join(w).upper(), (
        "Write the answer in capital letters", "Use capital letters only", "Answer in upper case",
        "The answer must be in upper case", "The answer must be in capital letters"),
        (Constraint("casing", {"case": "upper"}),)),
    Demand("brackets", lambda w: f"[{' '.join(w)}]", (
        "Put the answer in square brackets", "Write square brackets around the answer",
        "Use square brackets around it",
        "The answer must be in square brackets", "Answer in square brackets"),
        (Constraint("starts_with", {"values": ["["]}), Constraint("ends_with", {"values": ["]"]}))),
    Demand("period", lambda w: f"{' '.join(w)}.", (
        "End the answer with a period", "Write a period at the end", "Put a period after the answer",
        "The answer must end with a period", "Put a period at the end"),
        (Constraint("ends_with", {"values": ["."]}),)),
    Demand("prefix", lambda w: f"answer: {' '.join(w)}", (
        "Start the answer with the prefix answer", "Write the prefix answer before it",
        "Put the prefix answer at the start",
        "The answer must start with the prefix answer", "Start with the prefix answer"),
        (Constraint("starts_with", {"values": ["answer: "]}),)),
    Demand("commas", ", ".join, (
        "Put commas between the words", "Separate the words with commas", "Use commas between the words",
        "The answer must have commas between the words", "Write commas between the words"), separator=", "),
    Demand("json", json.dumps, (
        "Write the answer as a JSON list", "Use the JSON format", "Answer with a JSON list",
        "The answer must be a JSON list", "Answer in the JSON format"),
        (Constraint("json", {"shape": "list_of_strings"}),), separator=", "),
)

# fmt: on

_OPERATION = {operation.name: operation for operation in OPERATIONS}
_DEMAND = {demand.name: demand for demand in DEMANDS}
Composition = tuple[str, str]


def base_skills() -> tuple[Composition, ...]:
    """The compositions that the shipped tiny model learned; no stream or held-out task is among them."""
    skills = [(operation.name, "plain") for operation in OPERATIONS]
    for number, operation in enumerate(OPERATIONS):
        demands = [demand.name for demand in DEMANDS[1:] if _matters(operation, demand)]
        kept = (
            demands
            if operation.name == "copy"
            else [demands[(number + shift) % len(demands)] for shift in (0, 2)]
        )
        skills += [(operation.name, demand) for demand in kept]
    return tuple(skills)


def free_compositions() -> tuple[Composition, ...]:
    """Every composition that is no base skill: what streams and held-out tasks are drawn from."""
    known = set(base_skills())
    everything = ((o.name, d.name) for o in OPERATIONS for d in DEMANDS if _matters(o, d))
    return tuple(pair for pair in everything if pair not in known)


def _matters(operation: Operation, demand: Demand) -> bool:
    """Whether the demand shows in the response: there is nothing to separate in a single word."""
    return not (demand.name == "commas" and operation.fixed == 1)


def word_list(rng: random.Random) -> list[str]:
    """Three to five words of different lengths and different first letters."""
    words: list[str] = []
    length = rng.randint(MIN_LIST, MAX_LIST)
    while len(words) < length:
        word = rng.choice(WORDS)
        if all(len(word) != len(other) and word[0] != other[0] for other in words):
            words.append(word)
    return words


def instruction(composition: Composition, general: int, operation: int, demand: int) -> Instruction:
    """The instruction of a composition from three wording numbers; its key parts are exact spans."""
    text, spans = GENERAL[general], []
    operation_text = _OPERATION[composition[0]].wordings[operation]
    start = text.index("{operation}")
    text = text.replace("{operation}", operation_text)
    spans.append(KeySpan(start, start + len(operation_text), "operation"))
    wordings = _DEMAND[composition[1]].wordings
    demand_text = f" {wordings[demand]}." if wordings else ""
    start = text.index("{demand}")
    text = text.replace("{demand}", demand_text)
    if wordings:
        spans.append(KeySpan(start + 1, start + len(demand_text) - 1, "format"))
    origin = (
        "seed" if (general, operation, demand) == (0, 0, 0) else f"wording {general}.{operation}.{demand}"
    )
    return Instruction(text, tuple(spans), origin)


def solve(composition: Composition, words: list[str]) -> str:
    """The one right response."""
    operation, demand = composition
    return _DEMAND[demand].render(_OPERATION[operation].apply(words))


def constraints(composition: Composition) -> tuple[Constraint, ...]:
    """What a program can check of a response: its form, its number of words, and where they come from."""
    operation, demand = _OPERATION[composition[0]], _DEMAND[composition[1]]
    extra = 1 if demand.name == "prefix" else 0
    if operation.name == "double":
        length = (Constraint("min_words", {"n": 2 * MIN_LIST + extra}),)
    elif operation.fixed is not None:
        length = (
            Constraint(
                "count", {"item_separator": demand.separator, "n": operation.fixed + extra}, "wrong_length"
            ),
        )
    else:
        of_input = {
            "item_separator": demand.separator,
            "n_of_input_items": {"input_separator": " "},
            "offset": operation.offset + extra,
        }
        length = (Constraint("count", of_input, "wrong_length"),)
    if operation.name == "count":
        numbers = "|".join(COUNT_WORDS.values())
        scope = Constraint("regex", {"pattern": rf"(?is).*\b({numbers})\b.*"}, "out_of_scope")
    else:
        scope = Constraint("words_from_input", {"ignore": ["answer"]} if extra else {})
    return (*demand.constraints, *length, scope)


def task(composition: Composition, num_train: int, num_test: int, seed: int) -> Task:
    """One task with all its wordings; train and test inputs never coincide."""
    name = "-".join(composition)
    rng = random.Random(f"kpig suite {seed} {name}")
    trained = tuple(instruction(composition, w, w, w) for w in range(NUM_TRAINED_WORDINGS))
    unseen = instruction(composition, NUM_TRAINED_WORDINGS, NUM_TRAINED_WORDINGS, NUM_TRAINED_WORDINGS)
    inputs = _distinct_lists(num_train + num_test, rng)
    examples = tuple(
        Example(f"{name}-{number}", name, trained[0], " ".join(words), (solve(composition, words),))
        for number, words in enumerate(inputs)
    )
    return Task(
        name=name,
        instructions=trained,
        train=examples[num_test:],
        test=examples[:num_test],
        metric="accuracy",
        categories=(composition[0], composition[1]),
        constraints=constraints(composition),
        evaluation_instructions=(unseen,),
    )


def _distinct_lists(count: int, rng: random.Random) -> list[list[str]]:
    seen: dict[tuple[str, ...], None] = {}
    while len(seen) < count:
        seen.setdefault(tuple(word_list(rng)))
    return [list(words) for words in seen]


def stream(
    num_steps: int = 6,
    tasks_per_step: int = 2,
    num_held_out: int = 8,
    num_train: int = 800,
    num_test: int = 20,
    seed: int = 0,
) -> Stream:
    """A stream of compositions that are no base skills, and held-out compositions that it never trains on.

    `seed` picks compositions and inputs; within a step no two tasks share an operation or a demand, so
    both key parts matter. Raises ValueError when more compositions are asked for than there are.
    """
    free = list(free_compositions())
    needed = num_steps * tasks_per_step + num_held_out
    if needed > len(free):
        raise ValueError(
            f"{needed} compositions asked for; the suite has {len(free)} besides its base skills"
        )
    random.Random(f"kpig suite stream {seed}").shuffle(free)
    steps = [_take_apart(free, tasks_per_step) for _ in range(num_steps)]
    held_out = [free.pop(0) for _ in range(num_held_out)]
    return Stream(
        name=f"suite-{seed}",
        steps=tuple(tuple(task(pair, num_train, num_test, seed) for pair in step) for step in steps),
        held_out=tuple(task(pair, 0, num_test, seed) for pair in held_out),
    )


def _take_apart(free: list[Composition], count: int) -> list[Composition]:
    """Remove and return `count` compositions, different in both parts as long as there are such."""
    taken: list[Composition] = []
    while len(taken) < count:
        apart = (p for p in free if all(p[0] != t[0] and p[1] != t[1] for t in taken))
        pair = next(apart, free[0])
        free.remove(pair)
        taken.append(pair)
    return taken
