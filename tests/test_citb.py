"""The CITB protocol: its lists, the streams made of task files, and its metrics against its own numbers."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from forked import kpig
from kpig import config
from kpig.cli.citb import StreamName
from kpig.errors import DataError, RunError
from kpig.scoring.metrics import average, backward_transfer, next_step
from kpig.tasks import citb, stream

PUBLISHED = Path(__file__).parent / "golden" / "citb_ft_instr_order2.txt"


def published_matrix():
    rows = [line.split() for line in PUBLISHED.read_text().splitlines() if not line.startswith("#")]
    measured = [[None if cell == "-" else float(cell) for cell in row] for row in rows]
    return [[None] * len(measured), *measured]


def test_its_metrics_are_those_that_its_own_code_printed_for_its_own_run():
    """scores.json beside that run: average_accuracy 35.0, average_FWT 18.1, average_BWT -5.4."""
    matrix = published_matrix()
    found = (average(matrix), next_step(matrix), backward_transfer(matrix))
    assert [round(value, 1) for value in found] == [35.0, 18.1, -5.4]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[1.0, 2.0, 3.0], [9.0, 20.0, 4.0], [8.0, 30.0, 50.0], [7.0, 6.0, 5.0]], 35.0),
        ([[None] * 3, [9.0, None, 4.0], [8.0, 30.0, 50.0], [7.0, 6.0, 5.0]], 50.0),
        ([[1.0], [9.0]], None),
        ([[1.0, 2.0, 3.0], [9.0, 20.0, 4.0]], 20.0),
        ([[1.0, 2.0]], None),
        ([[None, None], [None, None], [1.0, 2.0]], None),
    ],
)
def test_the_next_step_is_the_mean_just_above_the_diagonal_where_it_was_measured(matrix, expected):
    assert next_step(matrix) == expected


@pytest.mark.parametrize("name", citb.STREAMS)
def test_the_orders_of_a_stream_are_three_orders_of_the_same_tasks(name):
    found = citb.protocol(name)
    every = list(range(1, len(found.stream.tasks) + 1))
    assert len(found.orders) == 3 == len(set(found.orders))
    assert all(sorted(order) == every for order in found.orders) and list(found.orders[0]) == every
    assert len(set(found.stream.tasks)) == len(every) == {"instrdialog": 19, "instrdialog++": 38}[name]
    assert (len(set(found.initial.tasks)), len(set(found.official.tasks))) == (100, 119)
    assert not {*found.official.tasks} & {*found.stream.tasks, *found.initial.tasks}
    assert tuple(StreamName) == citb.STREAMS


def test_the_long_stream_holds_the_short_one_and_six_tasks_of_the_initial_set():
    short, long = (citb.protocol(name) for name in citb.STREAMS)
    assert {*short.stream.tasks} < {*long.stream.tasks}
    assert len({*long.stream.tasks} & {*long.initial.tasks}) == 6
    assert not {*short.stream.tasks} & {*short.initial.tasks}


# --- from the tasks at hand ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory):
    """The 13 tasks of InstrDialog and the official ones that lie in shared/data."""
    folder = Path(__file__).parents[1].parent / "shared" / "data"
    if not (folder / "citb-instrdialog").is_dir():
        pytest.skip("shared/data is not beside the repository")
    out = tmp_path_factory.mktemp("citb") / "out"
    sources = (folder / "citb-instrdialog", folder / "superni-heldout")
    written = citb.build(sources, out, num_dev=10, num_test=40, partial=True)
    return out, written, json.loads((folder / "citb-instrdialog" / "stream.json").read_text())


def test_what_is_missing_of_the_tasks_at_hand_is_named(at_hand):
    _, written, known = at_hand
    assert sorted(written["stream"].absent) == sorted(known["absent_tasks"])
    assert [len(part.tasks) for part in written.values()] == [13, 0, 15]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_orders_over_the_tasks_at_hand_are_those_published_beside_them(number, at_hand):
    out, _, known = at_hand
    names = [step["tasks"][0]["task"] for step in known["steps"]]
    expected = [names[place - 1] for place in known["published_orders"][str(number)]]
    spec = config.read_table(out / "orders.toml")
    order = spec["orders"][number - 1]
    settings = config.load(out / "citb.toml", [f"stream.order={order}"])
    assert [step[0].name for step in stream.configured(settings).steps] == expected


def test_the_stream_of_the_tasks_at_hand_is_scored_as_citb_scores(at_hand):
    out, written, _ = at_hand
    found = stream.configured(config.load(out / "citb.toml"))
    assert {task.metric for task in (*found.tasks, *found.held_out)} == {"rougeL"}
    assert [len(task.test) for task in found.tasks] == [40] * 13
    assert [len(task.validation) for task in found.tasks] == [10] * 13
    assert all(50 <= len(task.train) <= 150 for task in found.tasks)
    assert [task.name for task in found.held_out] == list(written["official"].tasks)
    assert not any(task.train for task in found.held_out)


# --- from made-up files ----------------------------------------------------------------------------------


def write_task(folder, name, inputs, **more):
    folder.mkdir(exist_ok=True, parents=True)
    instances = [
        {"id": f"{name}-{n}", "input": text, "output": [f"say {n}"]} for n, text in enumerate(inputs)
    ]
    raw = {"Definition": ["Say it."], "Categories": ["Dialogue"], "Instance License": ["MIT"], **more}
    (folder / f"{name}.json").write_text(json.dumps({**raw, "Instances": instances}))


@pytest.fixture
def checkout(tmp_path):
    """Every task of the short protocol, twelve examples each."""
    found = citb.protocol()
    for name in (*found.stream.tasks, *found.initial.tasks, *found.official.tasks):
        write_task(tmp_path / "tasks", name, [f"{name} {n}" for n in range(12)])
    return tmp_path


def test_a_whole_checkout_gives_every_part_without_a_word(checkout):
    done = kpig("citb", checkout / "tasks", "--out", checkout / "out", "--test", 4, "--dev", 3, "--train", 5)
    assert done.returncode == 1 and "leave none to train on" in done.stderr  # 25 + 25 of the initial set
    assert not (checkout / "out").exists()
    for name in citb.protocol().initial.tasks:
        write_task(checkout / "tasks", name, [f"{name} {n}" for n in range(160)])
    done = kpig("citb", checkout, "--out", checkout / "again", "--test", 4, "--dev", 3, "--train", 5)
    assert done.returncode == 0 and "missing" not in done.stdout, done.stderr
    for name, num_steps in (("citb", 19), ("initial", 1)):
        found = stream.configured(config.load(checkout / "again" / f"{name}.toml"))
        assert (len(found.steps), len(found.held_out)) == (num_steps, 119)
    assert {len(task.train) for task in found.tasks} == {100}
    assert len(found.steps[0]) == 100


def test_missing_tasks_are_refused_by_name_and_left_out_only_when_asked(checkout):
    first, second = citb.protocol().stream.tasks[3:5]
    for name in (first, second, citb.protocol().official.tasks[0]):
        (checkout / "tasks" / f"{name}.json").unlink()
    out = checkout / "out"
    done = kpig("citb", checkout / "tasks", "--out", out)
    assert done.returncode == 1 and not out.exists()
    assert f"2 of 19 tasks of 'stream' are missing: {first}, {second}" in done.stderr
    assert "1 of 119 tasks of 'official' are missing" in done.stderr and "--partial" in done.stderr


def test_without_any_task_of_the_stream_nothing_is_written_even_when_asked(tmp_path):
    write_task(tmp_path / "tasks", "task1_other", ["a", "b"])
    with pytest.raises(DataError, match="19 of 19 tasks of 'stream' are missing: task848"):
        citb.build([tmp_path / "tasks"], tmp_path / "out", partial=True)
    with pytest.raises(DataError, match="no such file or folder"):
        citb.build([tmp_path / "none"], tmp_path / "out", partial=True)
    assert not (tmp_path / "out").exists()


def test_folders_that_are_there_are_left_as_they_are(tmp_path):
    name = citb.protocol().stream.tasks[0]
    write_task(tmp_path / "tasks", name, [f"{n}" for n in range(9)])
    build = {"num_dev": 2, "num_test": 3, "partial": True}
    citb.build([tmp_path / "tasks"], tmp_path / "out", **build)
    before = (tmp_path / "out" / "stream" / "stream.json").read_text()
    with pytest.raises(RunError, match=r"stream is there already; give another folder"):
        citb.build([tmp_path / "tasks"], tmp_path / "out", **build)
    assert (tmp_path / "out" / "stream" / "stream.json").read_text() == before


def built(tmp_path, inputs, **sizes):
    name = citb.protocol().stream.tasks[0]
    write_task(tmp_path / "tasks", name, inputs, Reasoning=["kept"])
    written = citb.build([tmp_path / "tasks"], tmp_path / "out", partial=True, **sizes)
    task = stream.configured(config.load(tmp_path / "out" / "citb.toml")).tasks[0]
    return written["stream"], task, json.loads((tmp_path / "out/stream/tasks" / f"{name}.json").read_text())


def test_the_first_examples_are_tested_the_next_developed_on_and_others_trained_on(tmp_path):
    written, task, raw = built(tmp_path, [f"text {n}" for n in range(11)], num_test=3, num_dev=2, num_train=4)
    assert [one.input for one in task.test] == ["text 0", "text 1", "text 2"]
    assert [one.input for one in task.validation] == ["text 3", "text 4"]
    assert len(task.train) == 4 and {one.input for one in task.train} <= {f"text {n}" for n in range(5, 11)}
    assert written.short == () and written.num_repeated == 0
    assert raw["Reasoning"] == ["kept"] and raw["Instance License"] == ["MIT"] and len(raw["Instances"]) == 9


def test_repetitions_of_tested_inputs_are_dropped_and_counted_and_too_few_examples_told(tmp_path):
    inputs = ["a", "b", "c", "A ", "d", "e", " b", "f", "g"]
    written, task, _ = built(tmp_path, inputs, num_test=3, num_dev=2, num_train=50)
    assert written.num_repeated == 2 and written.short == (task.name,)
    assert [one.input for one in task.validation] == ["d"]
    assert sorted(one.input for one in task.train) == ["e", "f", "g"]


def test_the_examples_to_train_on_depend_on_the_tasks_name_alone(tmp_path):
    inputs = [f"text {n}" for n in range(30)]
    one = built(tmp_path / "one", inputs, num_test=2, num_dev=2, num_train=9)[1]
    write_task(tmp_path / "two" / "tasks", citb.protocol().stream.tasks[1], inputs)
    two = built(tmp_path / "two", inputs, num_test=2, num_dev=2, num_train=9)[1]
    assert one.train == two.train


def test_without_validation_examples_the_config_stops_no_step_early(tmp_path):
    built(tmp_path, [f"text {n}" for n in range(9)], num_test=2, num_dev=0)
    settings = config.load(tmp_path / "out" / "citb.toml")
    assert settings.train.patience == 0 and not settings.train.keep_best


def test_instances_without_an_id_keep_their_place_as_one(tmp_path):
    name = citb.protocol().stream.tasks[0]
    write_task(tmp_path / "tasks", name, [])
    path = tmp_path / "tasks" / f"{name}.json"
    raw = json.loads(path.read_text())
    raw["Instances"] = [{"input": f"text {n}", "output": "yes"} for n in range(6)]
    path.write_text(json.dumps(raw))
    citb.build([tmp_path / "tasks"], tmp_path / "out", num_test=2, num_dev=1, partial=True)
    (task,) = stream.configured(config.load(tmp_path / "out" / "citb.toml")).tasks
    assert [one.id for one in task.test] == [f"{name}-1", f"{name}-2"]


def test_the_long_stream_has_its_own_sizes_and_the_order_that_is_asked_for(tmp_path):
    found = citb.protocol("instrdialog++")
    for name in found.stream.tasks:
        write_task(tmp_path / "tasks", name, [f"{name} {n}" for n in range(170)])
    more = ("--stream", "instrdialog++", "--order", 3, "--partial")
    done = kpig("citb", tmp_path / "tasks", "--out", tmp_path / "out", *more)
    assert done.returncode == 0, done.stderr
    settings = config.load(tmp_path / "out" / "citb.toml")
    tasks = stream.configured(settings).tasks
    assert settings.stream.order == found.orders[2]
    assert [task.name for task in tasks] == [found.stream.tasks[place - 1] for place in found.orders[2]]
    assert {(len(one.train), len(one.validation), len(one.test)) for one in tasks} == {(100, 25, 25)}


@pytest.mark.parametrize("damage", ["{", '{"Definition": ["Say it."], "Instances": []}'])
def test_a_file_that_cannot_be_used_is_named_and_nothing_is_written(damage, checkout):
    name = citb.protocol().stream.tasks[5]
    path = checkout / "tasks" / f"{name}.json"
    path.write_text(damage)
    with pytest.raises(DataError, match=re.escape(str(path))):
        citb.build([checkout / "tasks"], checkout / "out", num_test=2, num_dev=1, partial=True)
    assert not (checkout / "out").exists()


# --- the page --------------------------------------------------------------------------------------------


def test_the_commands_of_the_page_make_a_stream_that_can_be_run(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "citb.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    found = citb.protocol()
    for name in (*found.stream.tasks, *found.initial.tasks, *found.official.tasks):
        write_task(tmp_path / "natural-instructions" / "tasks", name, [f"{name} {n}" for n in range(160)])
    for line in block.splitlines():
        done = kpig(*shlex.split(line)[1:], first=lambda: os.chdir(tmp_path))
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "citb").iterdir()} == {
        *("stream", "initial", "official", "citb.toml", "initial.toml", "orders.toml")
    }


def test_a_stream_is_run_and_compared_under_its_names_as_the_page_says(tmp_path):
    for place, name in enumerate(citb.protocol().stream.tasks[:3]):
        write_task(tmp_path / "tasks", name, [f"text {place} {n}" for n in range(9)])
    short = ["--set", "train.updates_per_step=1", "--set", "evaluate.max_new_tokens=2"]
    made = kpig("citb", tmp_path / "tasks", "--out", tmp_path, "--test", 2, "--dev", 1, "--partial")
    assert made.returncode == 0, made.stderr
    done = kpig("run", tmp_path / "citb.toml", *short, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    done = kpig("compare", tmp_path / "run", "--format", "csv")
    means = {line.split(",")[1]: line.split(",")[3] for line in done.stdout.splitlines() if line}
    matrix = scores["matrix"]
    assert float(means["next_step"]) == pytest.approx((matrix[1][1] + matrix[2][2]) / 2)
    assert float(means["average"]) == pytest.approx(sum(matrix[3]) / 3)
    page = (tmp_path / "run" / "report.md").read_text()
    assert "(AR)" in page and "(BWT)" in page and "(FWT without baseline)" in page
