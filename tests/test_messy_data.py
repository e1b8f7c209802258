"""Data as they lie about: nothing of a folder, a row or a message is lost or taken for another in silence."""

import gzip
import json
import os

import pytest

from kpig import config
from kpig.errors import DataError
from kpig.runs import gate, job
from kpig.scoring.meanings import find
from kpig.tasks import readers, stream, written
from test_cli import kpig
from test_found_reading import some_rows, write_rows


def names(folder):
    return [task.name for task in stream.load(folder).tasks]


# Folders


def test_shards_of_a_training_split_alone_are_one_task(tmp_path):
    for number in (0, 1):
        write_rows(tmp_path / "d" / f"train-0000{number}-of-00002.jsonl", some_rows(f"a{number}", 5))
    (task,) = stream.load(tmp_path / "d").tasks
    assert (task.name, len(task.train) + len(task.test)) == ("train", 10)


@pytest.mark.parametrize("ending", ["json", "JSON", "json.gz", "Json.GZ"])
def test_task_files_go_by_the_same_name_alone_and_in_a_folder(ending, tmp_path):
    task = {"Definition": ["Say it."], "Instances": [{"input": f"i{n}", "output": ["o"]} for n in range(6)]}
    path, content = tmp_path / "d" / f"task1.{ending}", json.dumps(task).encode()
    path.parent.mkdir()
    path.write_bytes(gzip.compress(content) if ending.casefold().endswith("gz") else content)
    assert names(path) == names(path.parent) == ["task1"]


@pytest.mark.parametrize("ending", ["JSONL", "ndjson.gz", "Jsonl.GZ"])
def test_an_ending_is_known_in_any_case_and_packed(ending, tmp_path):
    write_rows(tmp_path / "d" / "a.jsonl", some_rows("a"))
    path = write_rows(tmp_path / "d" / f"b.{ending}", some_rows("b"))
    if ending.casefold().endswith("gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert names(tmp_path / "d") == ["a", "b"]


def test_what_else_in_a_folder_looks_like_data_is_told_and_notes_are_not(tmp_path, caplog):
    folder = tmp_path / "d"
    write_rows(folder / "a.jsonl", some_rows("a"))
    write_rows(folder / "inner" / "b.jsonl", some_rows("b"))
    (folder / "c.jsonl.bz2").write_bytes(b"BZh9")
    os.symlink(tmp_path / "none.jsonl", folder / "e.jsonl")
    for name in ("README.md", "LICENSE", ".hidden.jsonl", "dataset_info.json"):
        (folder / name).write_text("{}")
    (folder / "pictures").mkdir()
    assert names(folder) == ["a"]
    (told,) = [one for one in caplog.messages if "not read" in one]
    assert ": not read: c.jsonl.bz2, e.jsonl, inner/;" in told


def test_two_files_of_one_name_are_refused(tmp_path):
    write_rows(tmp_path / "d" / "a.jsonl", some_rows("a"))
    (tmp_path / "d" / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "d" / "a.jsonl").read_bytes()))
    with pytest.raises(DataError, match=r"a\.jsonl and a\.jsonl\.gz have the same name"):
        stream.load(tmp_path / "d")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="a pipe or a device; save it to a file"):
        stream.load_tasks(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="a pipe or a device"):
        readers.annotation_paths(tmp_path / "pipe.jsonl")


# Rows


def test_narrow_numbers_are_what_was_written(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "instruction": pyarrow.array(["Rate it."] * 4),
        "input": pyarrow.array([0.1, 0.7, 3.0, 1e-9], pyarrow.float32()),
        "output": pyarrow.array([[0.1], [0.2], [0.3], [5.0]], pyarrow.list_(pyarrow.float32())),
        "id": pyarrow.array([0.1, 0.2, 0.3, 0.4], pyarrow.float64()),
        "more": pyarrow.array([[("a", 0.5)]] * 4, pyarrow.map_(pyarrow.string(), pyarrow.float32())),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    (task,) = stream.load_tasks(tmp_path / "d.parquet")
    assert [one.input for one in task.test] == ["0.1", "0.7", "3.0", "1e-09"]
    assert [one.references[0] for one in task.test] == ["0.1", "0.2", "0.3", "5.0"]


def test_a_table_that_cannot_be_is_told_in_a_sentence(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts, far = pyarrow.array(["a"]), pyarrow.array([2**60], pyarrow.timestamp("us"))
    for columns, name, said in (
        ([texts, texts, far], "when", "after row 0 stands a value that cannot be read"),
        ([texts, texts, texts], "output", "has the column 'output' several times"),
    ):
        table = pyarrow.Table.from_arrays(columns, names=["instruction", "output", name])
        parquet.write_table(table, tmp_path / "d.parquet")
        with pytest.raises(DataError, match=said):
            stream.load_tasks(tmp_path / "d.parquet")


def test_keys_of_messages_that_are_not_used_are_told_and_weights_are_numbers(tmp_path, caplog):
    answer = {"role": "assistant", "content": "4", "reasoning_content": "2 + 2", "name": None}
    rows = [{"messages": [{"role": "user", "content": f"2 + 2, {n}?"}, answer]} for n in range(5)]
    stream.load(write_rows(tmp_path / "a.jsonl", rows))
    (told,) = [one for one in caplog.messages if "not used" in one]
    assert "'messages: reasoning_content' (5 rows)" in told and "name" not in told
    rows[3]["messages"][1] = {"role": "assistant", "content": "4", "weight": "0"}
    with pytest.raises(DataError, match="'weight' is '0'; expected 0"):
        stream.load(write_rows(tmp_path / "b.jsonl", rows))


def test_a_column_that_another_takes_the_place_of_is_told(tmp_path, caplog):
    rows = [{"instruction": "Say it.", "output": "no", "answer": f"yes {n}"} for n in range(5)]
    stream.load(write_rows(tmp_path / "a.jsonl", rows), columns={"output": "answer"})
    assert any("not used: 'output' (5 rows)" in one for one in caplog.messages)


# Commands


CHAT = [
    {
        "messages": [
            {"role": "system", "content": "Is it urgent? Answer yes or no."},
            {"role": "user", "content": f"Message {n}."},
            {"role": "assistant", "content": "yes"},
        ]
    }
    for n in range(10)
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that reads the system prompt as the instruction, its data, and their key parts beside them."""
    folder = tmp_path_factory.mktemp("desk")
    data = write_rows(folder / "may.jsonl", CHAT)
    parts = {"may": {"definition": "Is it urgent? Answer yes or no.", "key_parts": [{"text": "yes or no"}]}}
    (folder / "keyparts.json").write_text(json.dumps(parts))
    table = config.build(
        {
            "model": {"path": "tiny"},
            "stream": {"path": str(data), "columns": {"instruction": "system"}},
            "train": {"updates_per_step": 2, "batch_size": 4},
            "method": {"name": "sequential"},
            "evaluate": {"max_new_tokens": 4},
        }
    )
    (folder / "my.toml").write_text(config.dump(table))
    job.run(table, folder / "run")
    return folder / "run"


@pytest.mark.parametrize("command", ["eval", "gain"])
def test_a_run_reads_further_data_as_it_reads_its_own_and_says_so(command, run):
    data = run.parent / "may.jsonl"
    result = kpig(command, run, "--tasks", data)
    assert result.returncode == 0, result.stderr
    assert f"{data} is read as {run} reads its tasks: columns" in " ".join(result.stderr.split())
    other = kpig(command, "tiny", "--tasks", data)
    assert other.returncode == 1 and "[stream.columns]" in other.stderr


def test_key_parts_of_further_data_are_found_as_the_run_reads_them(run, tmp_path):
    said = "Name the team: billing or shipping."
    rows = [{"messages": [{"role": "system", "content": said}, *row["messages"][1:]]} for row in CHAT]
    data = write_rows(tmp_path / "june.jsonl", rows)
    result = kpig("annotate", data, "--like", run, "--by", "rules", "--no-constraints")
    assert result.returncode == 0 and f"kpig show {data} --like {run}" in " ".join(result.stdout.split())
    assert json.loads((tmp_path / "keyparts.json").read_text())["june"]["definition"] == said
    shown = kpig("show", data, "--like", run)
    assert shown.returncode == 0 and "shipping" in shown.stdout
    other = kpig("show", data, "--like", data)
    assert other.returncode == 2 and "is no run; give the folder of one" in other.stderr
    for tasks in ("suite", run.parent / "my.toml", run):
        other = kpig("annotate", tasks, "--like", run, "--by", "rules", "--out", tmp_path / "k.json")
        assert other.returncode == 2 and "says itself how its tasks are read" in " ".join(
            other.stderr.split()
        )


def test_key_parts_of_a_runs_own_tasks_are_found_anew(run, tmp_path):
    out = tmp_path / "keyparts.json"
    for _ in range(2):
        result = kpig("annotate", run, "--by", "rules", "--no-constraints", "--out", out, "--overwrite")
        assert result.returncode == 0, result.stderr
    assert json.loads(out.read_text())["may"]["made_by"] == "rules"


def test_data_that_lack_the_columns_of_the_run_are_read_by_their_own(run, tmp_path):
    plain = write_rows(tmp_path / "plain.jsonl", some_rows("a", 3))
    chat = write_rows(tmp_path / "chat.jsonl", [{"messages": row["messages"][1:]} for row in CHAT])
    for data in (plain, chat):
        assert kpig("eval", run, "--tasks", data).returncode == 0


def test_answers_come_in_the_order_of_rows_that_name_no_task_and_need_no_key_parts(run, tmp_path):
    asked = [{"instruction": f"Say {'AB'[n % 2]}.", "input": str(n), "split": "test"} for n in range(6)]
    asked[4]["split"] = "validation"
    data = write_rows(run.parent / "asked.jsonl", asked)
    result = kpig("predict", run, data, "--out", tmp_path / "a.jsonl", "--max-new-tokens", 2)
    assert result.returncode == 0 and "passed over, for their split is not test: 1 rows" in result.stderr
    prompts = [json.loads(line)["prompt"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [next(n for n in range(6) if f"Input: {n}" in one) for one in prompts] == [0, 1, 2, 3, 5]
    may = kpig("predict", "tiny", run.parent / "may.jsonl", "--out", tmp_path / "b.jsonl")
    assert may.returncode == 0, may.stderr


def test_what_select_could_not_write_is_refused_before_its_work(run, tmp_path, monkeypatch):
    found = stream.configured(config.load(run.parent / "my.toml"))
    with pytest.raises(DataError, match="instruction in the system prompt"):
        written.check(found.tasks)
    monkeypatch.setattr("kpig.runs.selection.select", lambda *_: pytest.fail("work was done"))
    result = kpig("select", run.parent / "my.toml", "--model", "tiny", "--budget", 3, "--out", tmp_path / "s")
    assert result.returncode == 1 and "system prompt" in result.stderr


def test_a_task_of_one_example_is_said_to_tell_nothing_though_none_changed():
    assert gate._is_blind(1, 0, 10_000) and gate._is_blind(2, 0, 10_000) and not gate._is_blind(8, 0, 10_000)


def test_headings_of_the_quickstart_are_explained():
    assert find("forgets").title == "Forgetting" and find("half-listens") is find("half_listening")
