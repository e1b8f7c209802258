"""Whatever is in a file of tasks or a config: a result or a KpigError, never another exception.

A few hundred inputs in the gate, the same each time; KPIG_TORTURE=N tries N of each kind instead.
"""

import gzip
import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpig.config.tree import load as load_config
from kpig.errors import KpigError
from kpig.tasks import stream
from kpig.tasks.key_parts import locate

NUM_TRIED = int(os.environ.get("KPIG_TORTURE", "40"))
tried = settings(
    max_examples=NUM_TRIED,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ODD = st.sampled_from(
    [
        *("", " ", "\x00", "\ufeff", "\u202e", "�", "😀", "a" * 5_000, "../x", "/", "a/" * 2_000),
        *(None, True, -1, 0, 10**400, 1.5, float("nan"), float("inf"), [], {}, [[]], [None], {"": None}),
    ]
)
LEAVES = ODD | st.text(max_size=8) | st.integers() | st.floats() | st.none() | st.booleans()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)
DEEP = "[" * 3_000
BROKEN = st.sampled_from(
    [
        *(b"", b"\xff\xfe", b"\x00", b"{", b'{"a":', DEEP.encode(), b'{"a": ' + DEEP.encode()),
        *(
            b'{"instruction": "\\ud800", "output": "x"}',
            b'{"output": ' + b"9" * 5_000 + b"}",
            b"NaN",
            b"null",
        ),
        *(gzip.compress(b"{}"), b"\x1f\x8b", b"\n\n\n", b"\xef\xbb\xbf", b'{"a":1}{"b":2}'),
    ]
)


def sound_or_odd(**fields):
    """Objects whose fields are mostly sound, some odd and some missing, with a stranger at times."""
    known = {key: st.just(value) | VALUES if value is not None else VALUES for key, value in fields.items()}
    return st.fixed_dictionaries({}, optional=known | {"strange": VALUES})


KEY_PART = sound_or_odd(text="colour", kind="operation", start=9, end=15)
ROW = sound_or_odd(
    instruction="Name the colour.",
    wording_of="Name the colour.",
    input="a plum",
    output="blue",
    task="fruit",
    id="1",
    key_parts=["colour"],
    constraints=[{"type": "max_words", "n": 3}],
    categories=["Naming"],
    metric="rougeL",
    split="train",
    step=1,
)
INSTANCE = sound_or_odd(id="1", input="a plum", output=["blue"])
SUPERNI = sound_or_odd(Definition=["Name the colour."], Categories=["Naming"], metric="exact") | st.builds(
    lambda task, instances: {**task, "Definition": "Name the colour.", "Instances": instances},
    sound_or_odd(Categories=[], metric="exact"),
    st.lists(INSTANCE | VALUES, max_size=4),
)
ENTRY = sound_or_odd(task="fruit", file="tasks/fruit.json", train_ids=["1"], test_ids=["2"])
STREAM = st.builds(
    lambda rest, tasks: {**rest, "steps": [{"tasks": tasks}]},
    sound_or_odd(name="s"),
    st.lists(ENTRY | VALUES, max_size=3),
)
BESIDE = {
    "stream.json": STREAM | sound_or_odd(steps=[], tasks=None),
    "keyparts.json": sound_or_odd(fruit={"key_parts": ["colour"]})
    | st.builds(lambda parts: {"fruit": {"key_parts": parts}}, st.lists(KEY_PART | VALUES, max_size=3)),
    "constraints.json": sound_or_odd(fruit=[])
    | st.builds(
        lambda entries: {"fruit": entries},
        st.lists(sound_or_odd(type="max_words", n=3, kind="length", pattern="a+", values=["a"]), max_size=3),
    ),
    "variants.json": sound_or_odd(fruit=[])
    | st.builds(
        lambda entries: {"fruit": entries},
        st.lists(
            sound_or_odd(
                instruction="Say it.", key_parts=["Say"], way="written", parent="x", evaluation=True
            ),
            max_size=3,
        ),
    ),
}


def holds(action):
    """Whether an action ends in a result or in an error that is meant for people."""
    try:
        action()
    except KpigError as error:
        assert str(error).strip()


def as_bytes(value):
    return json.dumps(value).encode()


@tried
@given(st.lists(ROW.map(as_bytes) | VALUES.map(as_bytes) | BROKEN, max_size=5), st.booleans())
def test_any_jsonl_is_read_or_refused(tmp_path, found, packed):
    content = b"\n".join(found)
    path = tmp_path / ("t.jsonl.gz" if packed else "t.jsonl")
    path.write_bytes(gzip.compress(content) if packed else content)
    holds(lambda: stream.load(path))
    holds(lambda: stream.load_tasks(path))


@tried
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path, content):
    for name in ("t.jsonl", "t.jsonl.gz", "t.json", "stream.json"):
        path = tmp_path / name
        path.write_bytes(content)
        holds(lambda path=path: stream.load(path))


@tried
@given(SUPERNI.map(as_bytes) | VALUES.map(as_bytes) | BROKEN)
def test_any_superni_task_is_read_or_refused(tmp_path, content):
    (tmp_path / "fruit.json").write_bytes(content)
    holds(lambda: stream.load(tmp_path / "fruit.json"))


@pytest.mark.parametrize("name", list(BESIDE))
def test_any_file_beside_the_tasks_is_read_or_refused(tmp_path, name):
    rows = [{"id": str(n), "input": f"plum {n}", "output": "blue"} for n in range(1, 6)]
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "fruit.json").write_bytes(
        as_bytes({"Definition": "Name the colour.", "Instances": rows})
    )

    @tried
    @given(BESIDE[name].map(as_bytes) | VALUES.map(as_bytes) | BROKEN)
    def is_read_or_refused(content):
        (tmp_path / name).write_bytes(content)
        holds(lambda: stream.load(tmp_path))

    is_read_or_refused()


@tried
@given(st.text("Name the colour.\n😀", max_size=30), st.lists(KEY_PART | LEAVES, max_size=4) | VALUES)
def test_any_key_parts_are_placed_inside_the_text_and_apart_or_refused(text, parts):
    try:
        spans = locate(text, parts, "f")
    except KpigError:
        return
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(left.end <= right.start for left, right in itertools.pairwise(spans))


SETTINGS = st.sampled_from(
    ["seed", "model.path", "stream.path", "train.epochs", "method.name", "stream.order"]
)
SET_VALUES = st.sampled_from(
    [
        "9" * 5_000,
        DEEP,
        "[" * 3_000 + "]" * 3_000,
        "{a=" * 2_000,
        "\x00",
        "a" * 9_000,
        "'\\ud800'",
        "1e400",
        "",
    ]
) | st.text(max_size=12)


@tried
@given(
    st.lists(
        st.builds(lambda key, value: f"{key}={value}", SETTINGS, SET_VALUES) | st.text(max_size=9), max_size=3
    )
)
def test_any_set_option_is_taken_or_refused(tmp_path, overrides):
    (tmp_path / "run.toml").write_text("")
    holds(lambda: load_config(tmp_path / "run.toml", overrides))


@tried
@given(
    st.binary(max_size=40)
    | BROKEN
    | st.builds(
        lambda key, value: f'[model]\n{key} = "{value}"'.encode(), st.sampled_from(["path", "x"]), SET_VALUES
    )
    | st.sampled_from(
        [
            *(b"seed = " + b"9" * 5_000, b"seed = " + DEEP.encode(), b"a." * 3_000 + b"b = 1"),
            *(b'[model]\npath = "\\u0000"', b'[stream]\npath = "' + b"a/" * 5_000 + b'"', b"[a]\n[a]"),
            b'[stream]\npath = "' + b"a" * 5_000 + b'"',
        ]
    )
)
def test_any_config_is_taken_or_refused(tmp_path, content):
    (tmp_path / "run.toml").write_bytes(content)
    holds(lambda: load_config(tmp_path / "run.toml"))


@pytest.mark.parametrize(
    "override", ["\udcff=1", "model.\udcff=1", "model.path=\udcff", "seed=\udcff", "=", ".=1"]
)
def test_any_override_in_another_encoding_is_taken_or_refused(tmp_path, override):
    (tmp_path / "run.toml").write_text("")
    holds(lambda: load_config(tmp_path / "run.toml", [override]))


@pytest.mark.parametrize(
    "name", ["\x00", "a" * 5_000, "a/" * 5_000, "\udcff", "~no-such-user/x", ".", "", "/dev/null"]
)
def test_any_path_is_read_or_refused(tmp_path, name):
    holds(lambda: stream.load(Path(tmp_path, name) if not name.startswith("~") else name))
    holds(lambda: stream.load_tasks(name, variants=name))
    holds(lambda: load_config(Path(name)))
