"""What a fresh attack on runs found: names that are no method, seeds, servers beside folders, columns."""

import json
import os

import pytest

from forked import kpig
from kpig import config
from kpig.cli.chat_model import ChatModel
from kpig.errors import ConfigError, DataError
from kpig.methods import chosen
from kpig.tasks import stream


@pytest.mark.parametrize(
    "name", ["os:system", "json:JSONDecoder", "kpig:config", "os:path", "kpig.records:Task"]
)
def test_what_is_no_method_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"'{name}' is no method; expected a class that inherits"):
        chosen.complete(config.build({"method": {"name": name}}))


@pytest.mark.parametrize("seed", [1 << 63, -(1 << 63) - 1, 10**20])
def test_a_seed_that_torch_does_not_take_is_refused_by_the_config(seed):
    with pytest.raises(ConfigError, match="seed"):
        config.build({"seed": seed})


@pytest.mark.parametrize("seed", [(1 << 63) - 1, -(1 << 63), 0])
def test_every_seed_that_torch_takes_is_taken(seed):
    assert config.build({"seed": seed}).seed == seed


def test_a_server_that_is_named_is_asked_though_a_folder_has_the_models_name(tmp_path, monkeypatch):
    (tmp_path / "gpt-x").mkdir()
    monkeypatch.chdir(tmp_path)
    told = {field: None for field in ChatModel.__dataclass_fields__}
    assert not ChatModel(**told | {"llm": "gpt-x", "base_url": "http://127.0.0.1:9/v1"}).is_folder
    assert ChatModel(**told | {"llm": "gpt-x", "base_url": ""}).is_folder


@pytest.mark.parametrize("columns", [{"output": "glod"}, {"input": "nope"}, {"task": "nope"}])
def test_a_column_that_no_row_has_is_refused_though_one_has_the_fields_own_name(columns, tmp_path):
    rows = [{"instruction": "Say it.", "input": str(n), "output": "WRONG", "gold": "right"} for n in range(4)]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="no row has the column"):
        stream.configured(config.build({"stream": {"path": str(path), "columns": columns}}))


def test_a_value_that_no_setting_takes_is_one_message(tmp_path):
    found = kpig("eval", "", "--tasks", "suite", first=lambda: os.chdir(tmp_path))
    assert found.returncode == 1 and "Traceback" not in found.stderr and "path" in found.stderr
