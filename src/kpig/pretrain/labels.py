"""Label sets under other names, so that a base model learns to read which labels an instruction names. [D]"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from kpig.records import Example, Instruction, Task

MOST_LABELS, BLOCK = 20, 8
NUM_WORDS, WORD = 4000, re.compile(r"(?<![\w'])[a-z]{3,10}(?![\w'])")
INPUTS_LOOKED_AT, MOST_INPUTS_WITH_LABELS = 100, 0.3
CASED = (str, str.capitalize, str.upper)


def with_other_names(tasks: Sequence[Task], share: float, rng: random.Random) -> tuple[Task, ...]:
    """The tasks with the labels of about `share` of their examples renamed, in instruction and response alike.

    Only tasks with `label_set` change. Each turns into several of the same name: its examples in blocks of
    BLOCK, one naming each, so that examples with one instruction can still be drawn together. The names
    are, by equal chances, the label set of another task of as many labels, or common words of the inputs.
    """
    sets = {task.name: found for task in tasks if (found := label_set(task))}
    words = common_words(tasks)
    changed: list[Task] = []
    for task in tasks:
        if task.name not in sets or not words:
            changed.append(task)
            continue
        examples = rng.sample(task.train, len(task.train))
        for first in range(0, len(examples), BLOCK):
            block = replace(task, train=tuple(examples[first : first + BLOCK]))
            names = _names(sets[task.name], sets.values(), words, rng)
            changed.append(renamed(block, names) if rng.random() < share else block)
    return tuple(changed)


def label_set(task: Task) -> tuple[str, ...]:
    """The responses of a task that has few, all of them named in its instruction and few in its inputs; else ()."""
    labels = tuple(sorted({example.response for example in task.train}))
    if not 2 <= len(labels) <= MOST_LABELS or len(task.instructions) > 1:
        return ()
    if not all(_pattern([label]).search(task.instruction.text) for label in labels):
        return ()
    looked_at = task.train[:INPUTS_LOOKED_AT]
    found = sum(bool(_pattern(labels).search(example.input)) for example in looked_at)
    return labels if found <= MOST_INPUTS_WITH_LABELS * len(looked_at) else ()


def renamed(task: Task, names: dict[str, str]) -> Task:
    """The task with every label in its instruction and its training responses replaced by its new name."""
    by_label = {label.lower(): name for label, name in names.items()} | names
    pattern = _pattern(list(names))

    def new_name(found: re.Match) -> str:
        return by_label.get(found[0]) or by_label[found[0].lower()]

    text = pattern.sub(new_name, task.instruction.text)
    instruction = Instruction(text, origin="other labels")
    train = tuple(_answering(example, instruction, names) for example in task.train)
    return replace(task, instructions=(instruction,), train=train)


def common_words(tasks: Sequence[Task]) -> list[str]:
    """The NUM_WORDS commonest words of three to ten small letters in the training inputs."""
    counts = Counter(
        word for task in tasks for example in task.train for word in set(WORD.findall(example.input))
    )
    return [word for word, _ in counts.most_common(NUM_WORDS)]


def _answering(example: Example, instruction: Instruction, names: dict[str, str]) -> Example:
    return replace(example, instruction=instruction, references=(names[example.response],))


def _names(labels: tuple[str, ...], sets, words: list[str], rng: random.Random) -> dict[str, str]:
    """A new name for each label: those of another set, in any order, or words in one kind of letters."""
    others = [other for other in sets if len(other) == len(labels) and not set(other) & set(labels)]
    if others and rng.random() < 0.5:
        chosen = rng.sample(rng.choice(others), len(labels))
    else:
        cased = rng.choice(CASED)
        chosen = [cased(word) for word in rng.sample(words, min(len(labels), len(words)))]
    return dict(zip(labels, chosen, strict=True))


def _pattern(labels: Sequence[str]) -> re.Pattern:
    """Labels as whole words, the longest first; a single letter counts in quotes only, other case from 4 letters."""
    return re.compile("|".join(_alternative(label) for label in sorted(labels, key=len, reverse=True)))


def _alternative(label: str) -> str:
    text = re.escape(label)
    if len(label) == 1 and label.isalpha():
        return rf"(?<=[\"'`‘“]){text}(?=[\"'`’”])"
    return rf"(?<![\w.-])(?i:{text})(?![\w-])" if len(label) > 3 else rf"(?<![\w.-]){text}(?![\w-])"
