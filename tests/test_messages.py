"""Messages: whole sentences, each told once, with what to do."""

import json
import logging
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from kpig.cli.failures import in_words
from kpig.cli.notes import Notes
from kpig.config import ModelSection
from kpig.errors import DataError, ModelError, clause
from kpig.llm import LlmError, trouble
from kpig.llm.settings import HttpSettings, read_key
from kpig.model.folder import check_folder, explained
from kpig.records import Example, Instruction, Task
from kpig.runs.check import scorer_cautions
from kpig.scoring import predictions_file


@pytest.fixture
def model(tmp_path):
    """A copy of the shipped model, to be damaged."""
    return shutil.copytree(Path(str(files("kpig") / "tiny")), tmp_path / "model")


def test_a_model_without_a_tokenizer_is_told_what_is_missing_and_how_to_write_it(model):
    for file in model.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer; expected tokenizer\.json") as caught:
        check_folder(str(model))
    assert "save_pretrained(folder)" in str(caught.value)


@pytest.mark.parametrize("size", [0, 7, 8, 100, 5000, -1])
def test_weights_cut_anywhere_are_named_with_what_to_do(model, size):
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(
        ModelError, match=r"model.safetensors \(\d+ bytes\) is cut short or damaged"
    ) as caught:
        check_folder(str(model))
    assert "copy it anew" in str(caught.value)


def test_another_librarys_sentence_is_not_cut_at_a_line_break():
    with pytest.raises(ModelError) as caught, explained("x"):
        raise ValueError("cannot make it from one of: (1) a file,\n(2) a folder or\n(3) a name.\nMore words.")
    assert "from one of: (1) a file, (2) a folder or (3) a name;" in str(caught.value)
    with pytest.raises(ModelError) as caught, explained("/tmp"):
        raise ValueError("word " * 1000)
    assert len(str(caught.value)) < 600 and str(caught.value).endswith("...")


def test_no_sentence_ends_twice():
    from kpig.model.loading import load

    with pytest.raises(ModelError) as caught:
        load(ModelSection(path="tiny", adapter="lora", lora_targets=("nothing",)))
    told = [
        str(caught.value),
        trouble.unreachable("http://x", "It is off.").hopeless,
        trouble.not_found("http://x", "m", "HTTP 404: Not here.").hopeless,
        trouble.of_status(402, "", "Pay first.", 0.0).hopeless,
        trouble.gives_up("http://x", 3, trouble.timed_out(2.0).failure),
        in_words(MemoryError("No room.")),
        in_words(OSError(28, "No space.")),
    ]
    assert not [words for words in told if ".." in words or ".)" in words or ".;" in words]
    assert clause("It is off.") == "It is off" and clause("3.5") == "3.5"


def test_a_missing_key_names_the_flag_as_it_is_typed():
    with pytest.raises(LlmError, match="--key-variable ''"):
        read_key(HttpSettings("http://127.0.0.1:1/v1", "m"), {})


def test_the_same_fault_of_many_lines_is_told_once_with_their_number(tmp_path):
    instruction = Instruction("Say it.")
    tests = tuple(Example(str(n), "t", instruction, f"i{n}", ("x",)) for n in range(3))
    task = Task("t", (instruction,), (), tests, "exact")
    path = tmp_path / "p.jsonl"
    rows = [{"task": "nobody", "example": str(n), "response": "r"} for n in range(500)]
    rows += [{"task": "t", "example": "0"}, {"task": "t", "example": "1"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError) as caught:
        predictions_file.score(path, [task], True)
    first, second = str(caught.value).splitlines()
    assert "line 1: there is no task 'nobody'" in first and "499 further lines" in first
    assert "line 501: has no response" in second and "1 further line)" in second


def test_what_is_logged_twice_or_for_each_task_is_told_once_with_a_count(capsys):
    notes, log = Notes(), logging.getLogger("kpig.tasks.drafts")
    for _ in range(2):
        for number in range(7):
            record = log.makeRecord(
                log.name, logging.WARNING, "f", 1, "task %r: %d dropped", (f"t{number}\x1b", 3), None
            )
            notes.handle(record)
    notes.count()
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 2 and "and 6 more" in told and "\x1b" not in told


def test_where_there_are_two_of_a_kind_both_are_told(capsys):
    notes, log = Notes(), logging.getLogger("kpig.tasks.readers")
    for folder in ("stream", "held-out"):
        notes.handle(log.makeRecord(log.name, logging.WARNING, "f", 1, "%s: not read", (folder,), None))
    notes.count()
    told = capsys.readouterr().err
    assert told == "note: stream: not read\nnote: held-out: not read\n"


def test_what_is_true_of_many_tasks_is_told_in_one_line_with_their_number():
    def task(number, metric, *references):
        instruction = Instruction("Judge it.")
        rows = tuple(
            Example(f"{n}", f"t{number}", instruction, f"i{n}", (one,)) for n, one in enumerate(references)
        )
        return Task(f"t{number}", (instruction,), (), rows, metric)

    signs = [task(number, "exact", "+", "-", "+") for number in range(7)]
    told = scorer_cautions([*signs, task(8, "accuracy", "C", "C++"), task(9, "exact", "yes", "no")])
    assert len(told) == 2
    assert told[0].startswith("7 tasks (t0, t1, t2 and 4 more): ") and "in 21 of 21 examples" in told[0]
    assert told[1].startswith("task 't8': ") and "2 of 2" in told[1]
    assert scorer_cautions(signs[:1])[0].startswith("task 't0': ")
