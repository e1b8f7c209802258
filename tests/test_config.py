"""The [method] table: whose settings stand there, who checks them, and what a run keeps of them."""

from pathlib import Path

import pytest

import kpig
from kpig import config
from kpig.errors import ConfigError, RunError
from kpig.methods import METHODS, chosen
from kpig.methods.base import Method, Settings
from kpig.runs import course, folder, restart
from kpig.runs.check import check

OLD_CONFIG = Path(__file__).parent / "golden" / "old_run" / "config.toml"


class MineSettings(Settings):
    """Two settings."""

    strength: float = 0.25
    name: str = "a"


class Mine(Method):
    """A method of a third party."""

    Settings = MineSettings
    settings: MineSettings


MINE = f"{__name__}:Mine"


def problems(method: dict) -> list[str]:
    return chosen.problems(config.build({"method": method}).method)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_config_is_loaded_by_its_path_whether_that_is_a_text_or_a_path(kind, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "my.toml").write_text("seed = 3\n[stream]\npath = 'tasks'\n")
    found = kpig.load_config(kind(tmp_path / "my.toml"), ["train.epochs=2"])
    assert (found.seed, found.train.epochs) == (3, 2.0)
    assert found.stream.path == str((tmp_path / "tasks").resolve())
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        kpig.load_config(kind(tmp_path / "none.toml"))


def test_a_config_that_an_earlier_version_wrote_loads_with_the_table_of_its_own_method():
    """It held the tables of all methods, and an empty one for classes of the user's own."""
    assert "[method.kpig]" in OLD_CONFIG.read_text() and "[method.options]" in OLD_CONFIG.read_text()
    found = config.load_resolved(OLD_CONFIG)
    assert found.method.model_dump() == {"name": "replay"}
    assert config.differing_keys(found, chosen.complete(config.load(OLD_CONFIG))) == []


@pytest.mark.parametrize("name", METHODS)
def test_a_run_keeps_every_setting_of_its_own_method_and_no_table_of_another(name):
    tables = {other: {} for other in METHODS} | {"kpig": {"twin_weight": 2.0}}
    found = chosen.complete(config.build({"method": {"name": name, **tables}}))
    kept = {key.split(".")[1] for key in config.settings_of(found) if key.startswith("method.")} - {"name"}
    assert kept == ({name} if chosen.defaults(name) else set())
    assert dict(found.method.given).keys() == chosen.defaults(name).keys()
    assert chosen.create(config.build({"method": {"name": "kpig", **tables}})).settings.twin_weight == 2.0


def test_slips_in_the_tables_of_all_methods_are_told_at_once():
    found = problems({"name": "ewc", "ewc": {"wieght": 1.0}, "kpig": {"refresh": -1}, "kpgi": {}})
    assert len(found) == 3
    assert "[method.ewc] has no key 'wieght'; did you mean 'weight'?" in found
    assert any(line.startswith("[method.kpig] refresh = -1: ") for line in found)
    assert any("no key 'kpgi'; did you mean 'kpig'?" in line for line in found)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            {"train": {"gradient_checkpointing": "maybe"}},
            "[train] gradient_checkpointing = 'maybe': input should be a valid boolean, or 'offload'",
        ),
        (
            {"train": {"row_tokens": -1}},
            "[train] row_tokens = -1: input should be 'auto', or greater than or equal to 0",
        ),
        (
            {"stream": {"order": ["b", 1]}},
            "[stream] order = ['b', 1]: input should be 'given' or 'shuffled', or a valid integer",
        ),
        (
            {"model": {"chat_template_arguments": {"a": [1]}}},
            "[model.chat_template_arguments] a = [1]: input should be a valid boolean, or a valid integer, "
            "or a valid number, or a valid string",
        ),
        ({"train": {"batch_size": "b"}}, "[train] batch_size = 'b': input should be a valid integer"),
    ],
)
def test_a_value_that_may_be_of_several_kinds_is_complained_of_once(table, told):
    with pytest.raises(ConfigError) as caught:
        config.build(table)
    assert str(caught.value) == f"config: {told}"


def test_the_options_of_a_class_are_checked_like_ours():
    assert problems({"name": MINE, "options": {"strength": 0.5}}) == []
    assert problems({"name": MINE, "options": {"strenght": 0.5}}) == [
        "[method.options] has no key 'strenght'; did you mean 'strength'?"
    ]
    (wrong,) = problems({"name": MINE, "options": {"strength": "0.5"}})
    assert wrong.startswith("[method.options] strength = '0.5': ")
    assert chosen.create(config.build({"method": {"name": MINE}})).settings == MineSettings()


def test_a_method_without_settings_takes_none():
    (told,) = problems({"name": "replay", "replay": {"ratio": 1.0}})
    assert "'replay' has no settings; remove the table (given: ratio)" in told


def test_options_are_for_classes_of_the_users_own():
    with pytest.raises(
        ConfigError, match=r"\[method.options\] is for a module:Class of your own.*--set method\.name="
    ):
        config.build({"method": {"name": "kpig", "options": {"twin_weight": 1.0}}})


def test_an_unknown_key_does_not_hide_a_misspelt_method(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[method]\nname = 'kpgi'\nnmae = 1\n[train]\nlearning_rat = 1.0\n")
    with pytest.raises(ConfigError) as caught:
        check(path)
    told = str(caught.value)
    assert "did you mean 'kpig'?" in told and "did you mean 'learning_rate'?" in told


PAPER = {
    "selection": "lowest",
    "signal": "gain",
    "gain_unit": "prob",
    "twin_weight": 1.0,
    "weighting": "gain",
    "twin_schedule": "constant",
    "twins_of": "all",
    "twin_share": 1.0,
    "reference": "initial",
    "gain_from": "probe",
}


def completed(settings: dict) -> dict:
    found = chosen.complete(config.build({"method": {"name": "kpig", "kpig": settings}}))
    return dict(found.method.given)


@pytest.mark.parametrize(
    "own", [{}, {"num_tasks": 3, "refresh": 7}, {"selection": "lowest", "twin_weight": 1}]
)
def test_the_papers_form_by_name_is_its_settings_written_out(own):
    named, written = completed({"preset": "paper", **own}), completed({**PAPER, **own})
    assert (named.pop("preset"), written.pop("preset")) == ("paper", "none")
    assert named == written and named.items() >= PAPER.items()


def test_the_papers_form_is_recorded_and_read_back_as_it_was(tmp_path):
    begun = chosen.complete(config.build({"method": {"name": "kpig", "kpig": {"preset": "paper"}}}))
    (tmp_path / "config.toml").write_text(config.dump(begun))
    found = config.load_resolved(tmp_path / "config.toml")
    assert found.method.given["preset"] == "paper" and found.method.given["selection"] == "lowest"
    assert config.differing_keys(begun, chosen.complete(found)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("selection", "uniform"), ("twin_weight", 0.3), ("weighting", "none"), ("reference", "previous")],
)
def test_a_setting_that_contradicts_the_preset_is_refused_by_name(key, value):
    (told,) = problems({"name": "kpig", "kpig": {"preset": "paper", key: value}})
    assert told.startswith("[method.kpig] preset = 'paper' means ")
    assert f"{key} = {PAPER[key]!r}, not {value!r}" in told


def test_a_preset_that_there_is_not_is_told_with_those_that_there_are():
    (told,) = problems({"name": "kpig", "kpig": {"preset": "papr"}})
    assert told.startswith("[method.kpig] preset = 'papr': ") and "'paper'" in told
    assert len(problems({"name": "kpig", "kpig": {"preset": ["paper"]}})) == 1


def of_an_earlier_version(path: Path, **settings: object) -> config.RunConfig:
    """A config of kpig, kept in a run folder as it was before a preset could be named."""
    planned = chosen.complete(config.build({"method": {"name": "kpig", "kpig": settings}}))
    kept = "".join(line for line in config.dump(planned).splitlines(True) if not line.startswith("preset"))
    path.mkdir()
    (path / "config.toml").write_text(kept)
    (path / "stream.json").write_text('{"digest": "d"}')
    (path / "environment.json").write_text("{}")
    return planned


def test_a_run_that_was_begun_before_its_method_got_a_setting_goes_on(tmp_path):
    planned = of_an_earlier_version(tmp_path / "run", num_tasks=3)
    folder.check_free(tmp_path / "run", planned, {"digest": "d"}, resume=True)
    assert restart.going_on(tmp_path / "run", planned) == planned


def test_a_run_that_was_begun_before_a_setting_keeps_what_held_then(tmp_path):
    planned = of_an_earlier_version(tmp_path / "run", twin_share=1.0, gain_from="probe")
    path = tmp_path / "run/config.toml"
    since = ("twin_share", "gain_from")
    path.write_text("".join(one for one in path.read_text().splitlines(True) if not one.startswith(since)))
    assert chosen.begun_with(path) == planned
    folder.check_free(tmp_path / "run", planned, {"digest": "d"}, resume=True)
    grown = course._going_on(config.load_resolved(path), "suite", (), {})
    assert (grown.method.given["twin_share"], grown.method.given["gain_from"]) == (1.0, "probe")
    today = chosen.complete(config.build({"method": {"name": "kpig"}}))
    with pytest.raises(RunError, match=r"different: method\.kpig\.gain_from, method\.kpig\.twin_share"):
        folder.check_free(tmp_path / "run", today, {"digest": "d"}, resume=True)


def test_a_run_that_was_begun_with_another_value_still_does_not(tmp_path):
    planned = of_an_earlier_version(tmp_path / "run")
    other = chosen.complete(config.build({"method": {"name": "kpig", "kpig": {"preset": "paper"}}}))
    with pytest.raises(RunError, match=r"different: method\.kpig\.gain_from, .*method\.kpig\.preset"):
        folder.check_free(tmp_path / "run", other, {"digest": "d"}, resume=True)
    assert planned != other
