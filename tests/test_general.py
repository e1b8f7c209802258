"""The shipped general questions: right by reference and rule, apart from other data, named anywhere."""

import json
import re
import shlex
from pathlib import Path

import pytest

from forked import kpig
from kpig import config
from kpig.errors import ConfigError, DataError
from kpig.tasks import coverage, desk, stream, suite
from kpig.tasks.constraints import violations
from kpig.tasks.matching import normalize
from kpig.tasks.measures import measure
from kpig.tasks.own_answers import problems


@pytest.fixture(scope="module")
def general():
    return stream.load_tasks(config.GENERAL)


def test_there_are_about_sixty_questions_each_with_its_own_input(general):
    inputs = [(example.task, example.input) for task in general for example in task.test]
    assert len(inputs) == len(set(inputs)) and 55 <= len(inputs) <= 70
    assert not any(task.train for task in general)


def test_every_reference_meets_its_rules_and_scores_full_marks(general):
    for task in general:
        assert task.constraints and problems([task]) == []
        for example in task.test:
            for reference in example.references:
                assert measure(task.metric)(reference, example.references) == 1.0
                assert violations(task.constraints, example.input, reference) == ()
    assert {task.metric for task in general} == {"accuracy", "json", "number", "rougeL", "token_f1"}


def test_what_can_be_computed_is_right(general):
    by_name = {task.name: task.test for task in general}
    for example in by_name["general-sums"]:
        assert eval(example.input) == int(example.response)
    for example in by_name["general-sorting"]:
        assert example.response.split(", ") == sorted(example.input.split())
    for example in by_name["general-capitals"]:
        assert example.response == example.input.upper() != example.input
    for example in by_name["general-copying"]:
        assert example.response == example.input
    for example in by_name["general-json"]:
        assert all(str(value) in example.input for value in json.loads(example.response).values())


def test_no_answer_can_be_had_by_always_giving_the_same(general):
    for task in general:
        answers = [normalize(example.response) for example in task.test]
        assert max(answers.count(one) for one in answers) <= len(answers) / 2


def test_every_instruction_has_key_parts_and_says_nothing_to_do_without_them(general):
    for task in general:
        assert task.instruction.key_parts and 0.3 < coverage.share(task.instruction) < 0.8, task.name


def words(text):
    return normalize(text).split()


def runs_of(text, length):
    found = words(text)
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


def contaminated(general, texts):
    """General inputs, and instructions, that others share: as a whole, or eight words in a row."""
    whole = {normalize(text) for text in texts}
    eights = set().union(*(runs_of(text, 8) for text in texts))
    own = {example.input for task in general for example in task.test}
    own |= {task.instruction.text for task in general}
    return [text for text in own if normalize(text) in whole or runs_of(text, 8) & eights]


def test_the_suite_and_the_desk_share_no_question_with_them(general, tmp_path):
    built = suite.stream(num_train=20)
    desk.write(tmp_path)
    others = [*built.tasks, *built.held_out, *stream.load(tmp_path).tasks]
    assert contaminated(general, texts_of(others)) == []


def texts_of(tasks):
    examples = [example for task in tasks for example in (*task.train, *task.test)]
    instructions = {one for task in tasks for one in (*task.instructions, *task.own_instructions)}
    return [one.text for one in instructions] + [example.input for example in examples]


@pytest.mark.parametrize(
    "folder", ["superni-stream", "superni-heldout", "citb-instrdialog", "short-instructions", "superni-base"]
)
def test_the_data_of_the_results_share_no_question_with_them(folder, general, shared_data):
    path = shared_data / folder
    tasks = stream.load_tasks(path / "base.jsonl.gz" if folder == "superni-base" else path)
    assert contaminated(general, texts_of(tasks)) == []


SUITE = {"num_steps": 1, "tasks_per_step": 1, "num_held_out": 2, "num_train": 4, "num_test": 2}


def test_the_suite_can_have_them_held_out_beside_its_own(general):
    built = config.build({"stream": {"held_out": "general"}, "suite": SUITE})
    alone = stream.configured(config.build({"suite": SUITE}))
    found = stream.configured(built)
    assert found.held_out == (*alone.held_out, *general) and found.steps == alone.steps


@pytest.fixture
def files(tmp_path):
    for name in ("learn", "other", "general"):
        (tmp_path / name).mkdir()
        rows = [
            {"instruction": "Say it.", "input": f"{name} {n}", "output": "it", "task": name} for n in range(5)
        ]
        (tmp_path / name / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def written(files, held_out):
    path = files / "my.toml"
    path.write_text(f"[stream]\npath = 'learn'\nheld_out = {held_out}\n")
    return stream.configured(config.load(path))


def test_a_stream_of_files_can_have_several_sources_of_held_out_tasks(files, general):
    names = [task.name for task in written(files, '["other", "general"]').held_out]
    assert names == ["other", *(task.name for task in general)]
    assert written(files, '["general"]').held_out == written(files, '"general"').held_out
    assert written(files, "[]").held_out == written(files, '""').held_out == ()


def test_a_folder_of_that_name_is_meant_with_a_dot_before_it(files):
    assert [task.name for task in written(files, '"./general"').held_out] == ["general"]


def test_two_sources_with_one_name_are_refused(files):
    with pytest.raises(DataError, match=r"2 tasks are named 'other'; names must differ"):
        written(files, '["other", "./other"]')
    with pytest.raises(DataError, match="11 held-out tasks have names that others"):
        stream.configured(config.build({"stream": {"held_out": ["general", "general"]}, "suite": SUITE}))


@pytest.mark.parametrize("value", ["3", "[3]", "true"])
def test_held_out_is_a_text_or_a_list_of_texts(files, value):
    with pytest.raises(ConfigError, match=r"\[stream\] held_out = .*: expected a text, or a list of texts"):
        written(files, value)


def test_they_cannot_be_learned(general):
    with pytest.raises(DataError, match="has no training examples"):
        stream.load("general")


def test_a_config_keeps_what_is_held_out_as_it_was_given(tmp_path):
    for given in ("general", ("general", "b"), ""):
        begun = config.build(
            {"stream": {"path": "a", "held_out": list(given) if isinstance(given, tuple) else given}}
        )
        (tmp_path / "config.toml").write_text(config.dump(begun))
        found = config.load_resolved(tmp_path / "config.toml")
        assert found.stream.held_out == given and config.differing_keys(begun, found) == []


def blocks(language):
    """Those of the section of data.md that is about held-out tasks."""
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    section = page.partition("## Held-out tasks")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_pages_config_names_them(files):
    (files / "others").mkdir()
    (files / "others" / "rows.jsonl").write_text((files / "other" / "rows.jsonl").read_text())
    (block,) = blocks("toml")
    (files / "my.toml").write_text(block + "path = 'learn'\n")
    assert len(stream.configured(config.load(files / "my.toml")).held_out) == 12


def test_the_pages_command_asks_a_model_them(tmp_path):
    (block,) = blocks("sh")
    command = shlex.split(block.replace("--out before", f"--out {tmp_path} --test-per-task 1"))
    done = kpig(*command[1:])
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "scores.json").read_text())["tasks"]) == 11


def test_they_are_part_of_the_package():
    wanted = Path(stream.GENERAL_DIR)
    assert {path.name for path in wanted.iterdir()} == {"tasks.jsonl", "keyparts.json", "constraints.json"}
    assert wanted.parent == Path(config.__file__).parents[1]
