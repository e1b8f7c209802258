"""`kpig config`: every key with its type, default, meaning and cost, from the fields themselves."""

import json
import tomllib
from typing import Annotated, Literal

import pytest
from pydantic import Field
from typer.testing import CliRunner

from kpig import config
from kpig.cli.commands import app
from kpig.config import RunConfig
from kpig.config.keys import tables, value_as_toml
from kpig.config.section import Count, Listed, Section, Share, cost
from kpig.errors import UsageError
from kpig.methods import METHODS, chosen
from kpig.methods.tables import tables_of


class OddSettings(Section):
    """Settings of every kind. And no more."""

    share: Share = 0.5
    below: Annotated[float, Field(gt=0, lt=3)] = 1.0
    names: Listed[str] = ("a", "b")
    kinds: Listed[Literal["x", "y"]] = ()
    counts: Listed[int] = ()
    either: Literal["one", "two"] | Count = Field("one", description="this", json_schema_extra=cost("that"))
    wide: Annotated[int, Field(ge=-(1 << 63))] = 0
    maybe: str | None = Field(None, description="may be left out")
    fixed: Literal["auto", 0] = "auto"


def by_name(found):
    return {key.name: key for table in found for key in table.keys}


ODD = by_name(tables({"odd": OddSettings}))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("share", "number from 0 to 1"),
        ("below", "number, above 0, below 3"),
        ("names", "list of text"),
        ("kinds", 'list of "x" or "y"'),
        ("counts", "list of whole numbers"),
        ("either", '"one" or "two" or whole number, 1 or more'),
        ("wide", "whole number"),
        ("maybe", "text or nothing"),
        ("fixed", '"auto" or 0'),
    ],
)
def test_types_are_said_in_words(name, words):
    assert ODD[f"method.odd.{name}"].type == words


def test_meaning_cost_and_default_are_those_of_the_field():
    either, names = ODD["method.odd.either"], ODD["method.odd.names"]
    assert (either.meaning, either.cost, either.default) == ("this", "that", "one")
    assert (names.default, names.cost) == (["a", "b"], "")


def test_every_key_of_every_table_is_told_with_its_default():
    found = by_name(tables_of())
    plain = config.settings_of(RunConfig())
    plain.pop("stream.metrics", None)
    flat = {name for name in plain if not name.startswith("model.chat_template_arguments.")}
    assert flat <= found.keys()
    for method in METHODS:
        assert {f"method.{method}.{name}" for name in chosen.load(method).Settings.model_fields} <= (
            found.keys()
        )
    assert all(key.meaning and key.type for key in found.values())


def test_a_default_is_written_as_toml_reads_it():
    for key in by_name(tables_of()).values():
        assert key.default is None or tomllib.loads(f"x = {key.written}")["x"] == key.default, key.name
    assert value_as_toml({}) == "{}" and value_as_toml(("a", 1)) == '["a", 1]'


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("train", ["train"]),
        ("stream", ["stream", "stream.columns"]),
        ("stream.columns", ["stream.columns"]),
        ("method.kpig", ["method.kpig"]),
        ("train.epochs", ["train"]),
        ("seed", [""]),
    ],
)
def test_a_name_stands_for_a_table_with_those_inside_it_or_for_a_key(section, names):
    found = tables_of(section)
    assert [table.name for table in found] == names
    if section in ("train.epochs", "seed"):
        assert [key.name for table in found for key in table.keys] == [section]


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("trian", "did you mean 'train'"),
        ("train.epoch", "did you mean 'train.epochs'"),
        ("method.kpgi", "did you mean 'method.kpig'"),
        ("method.replay", "'replay' has no settings of its own"),
        ("nothing.like.this", "has no table and no key"),
    ],
)
def test_a_name_that_is_no_table_and_no_key_is_refused(section, told):
    with pytest.raises(UsageError, match=told):
        tables_of(section)


def test_the_command_prints_tables_or_json():
    shown = CliRunner().invoke(app, ["config", "evaluate"], env={"COLUMNS": "200"}).output
    assert "[evaluate]" in shown and "evaluate.half_listening" in shown
    assert "Cost: doubles the generation time" in shown
    (found,) = json.loads(CliRunner().invoke(app, ["config", "replay", "--json"]).output)
    assert [key["name"] for key in found["keys"]] == ["replay.memory_per_task", "replay.ratio"]
    assert found["keys"][1]["default"] == 0.5 and found["keys"][1]["cost"]


def test_a_table_without_methods_loads_no_torch(tmp_path):
    import subprocess
    import sys

    code = "import sys; from kpig.methods.tables import tables_of; tables_of('train'); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
