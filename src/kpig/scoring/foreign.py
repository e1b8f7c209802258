"""Lines of predictions as other tools write them, in the fields that `predictions_file` reads. No torch.

| tool | file | its fields |
|---|---|---|
| Tk-Instruct | predict_eval_predictions.jsonl | Task, Instance.id, Prediction |
| LLaMA-Factory | generated_predictions.jsonl | prompt, predict, label |
| lm-evaluation-harness | samples_*.jsonl | doc, arguments, target, filtered_resps, resps |

The last two name no example of ours. It is found by its instruction and input, which the prompt must hold,
and by the label, which must be one of its references.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kpig.errors import DataError
from kpig.records import Example
from kpig.tasks.composition import composed

Fields = Mapping[str, Any]

Asked = tuple[str, object]
"""A prompt, and the label or the labels of a line."""


def ours(fields: Fields) -> Fields:
    """The line in our fields; the same line where no tool above has written it. Raises DataError."""
    if "Prediction" in fields and "Instance" in fields:
        return _tk_instruct(fields)
    if "predict" in fields and "label" in fields:
        return {**fields, "response": fields["predict"]}
    if "doc" in fields and ("resps" in fields or "filtered_resps" in fields):
        return _lm_eval(fields)
    return fields


def _tk_instruct(fields: Fields) -> Fields:
    instance = fields["Instance"]
    if not isinstance(instance, Mapping) or "id" not in instance:
        raise DataError("has no 'id' in 'Instance', as lines of Tk-Instruct have")
    told = {"example": instance["id"], "input": instance.get("input"), "references": instance.get("output")}
    return {"task": fields.get("Task"), "response": fields["Prediction"], **told}


def _lm_eval(fields: Fields) -> Fields:
    """The answer after the harness's filter, else the first one it generated."""
    answer = fields.get("filtered_resps") or fields.get("resps")
    while isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, str):
        raise DataError(
            "is a sample of lm-evaluation-harness without a generated text (a multiple-choice task?); "
            "expected one of output_type generate_until"
        )
    told = {"prompt": _first_text(fields.get("arguments")), "filter": fields.get("filter")}
    return {**told, "response": answer, "label": fields.get("target")}


def _first_text(arguments: object) -> str | None:
    """The prompt: {"gen_args_0": {"arg_0": prompt, ...}}, or [[prompt, ...]] in older files."""
    while isinstance(arguments, Mapping | list) and arguments:
        arguments = next(iter(arguments.values())) if isinstance(arguments, Mapping) else arguments[0]
    return arguments if isinstance(arguments, str) else None


class ByPrompt:
    """The test examples by their references, to be found by what a prompt holds.

    A file that asks every example, each line the next one, is taken to be in the order of the data
    (`in_order`): so one of many lines under few labels is read in one pass, and the same question may be
    asked twice. In any other file a short input may stand in the prompt of a longer one.
    """

    def __init__(self, examples: Sequence[Example]):
        self.examples = examples
        self.by_label: dict[str, list[int]] = {}
        for place, example in enumerate(examples):
            for reference in dict.fromkeys(map(plain, example.references)):
                self.by_label.setdefault(reference, []).append(place)
        self.texts: dict[str, str] = {}
        self.in_order = False
        self.next = 0

    def are_in_order(self, asked: Iterable[Asked | None]) -> bool:
        """Whether these prompts and labels ask all examples, one after the other."""
        number = 0
        for number, one in enumerate(asked, start=1):
            if one is None or number > len(self.examples):
                return False
            if not self._asks(plain(one[0]), _labels(one[1]), number - 1):
                return False
        return number == len(self.examples)

    def find(self, prompt: str, label: object) -> Example:
        """The example that the prompt asks; DataError where there is none, or no telling which."""
        place = self.next if self.in_order else self._only(plain(prompt), _labels(label), label)
        self.next = place + 1
        return self.examples[place]

    def _only(self, text: str, labels: set[str], label: object) -> int:
        """The one whose input in the prompt is longest: a short input may stand in many."""
        places = {place for one in labels for place in self.by_label.get(one, ())}
        found = sorted(place for place in places if self._asks(text, labels, place))
        if not found:
            raise DataError(
                f"no test example has its instruction and input in the prompt {_short(text)} and the label "
                f"{_short(str(label))} among its references; --tasks must be the tasks that were answered"
            )
        longest = max(map(self._length, found))
        rivals = [place for place in found if self._length(place) == longest]
        if len(rivals) > 1 and self.next not in rivals:
            named = " and ".join(
                f"{self.examples[one].task!r}, {self.examples[one].id!r}" for one in rivals[:2]
            )
            raise DataError(
                f"the prompt {_short(text)} asks several test examples ({named}); state 'example'"
            )
        return self.next if self.next in rivals else rivals[0]

    def _asks(self, text: str, labels: set[str], place: int) -> bool:
        example = self.examples[place]
        return (
            not labels.isdisjoint(map(plain, example.references))
            and self._words(example.input) in text
            and self._words(example.instruction.text) in text
        )

    def _length(self, place: int) -> int:
        return len(self._words(self.examples[place].input))

    def _words(self, text: str) -> str:
        if text not in self.texts:
            self.texts[text] = plain(text)
        return self.texts[text]


def _labels(label: object) -> set[str]:
    return {plain(str(one)) for one in (label if isinstance(label, list) else [label])}


def plain(text: str) -> str:
    """The text in composed form with its white space collapsed, as tools often leave it."""
    return " ".join(composed(text).split())


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else repr(text[:77] + "...")
