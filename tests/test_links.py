"""A part of a run folder that is a symbolic link is refused: what a run writes stays in its folder."""

import pytest

from kpig import config
from kpig.errors import RunError
from kpig.files import refuse_links
from kpig.methods import chosen
from kpig.pretrain import job as pretrain
from kpig.runs.folder import open_run
from kpig.runs.job import run
from kpig.tasks import stream

PARTS = ("steps", "steps/01", "steps/02/checkpoint", "steps/01/model/deep", "events.jsonl", "state.json")


@pytest.fixture
def begun(tmp_path):
    """A run that has begun and done nothing yet."""
    settings = chosen.complete(config.build({}))
    tasks = stream.configured(settings)
    open_run(tmp_path / "run", settings, stream.summary(tasks), {})
    return tmp_path / "run", settings


@pytest.mark.parametrize("part", PARTS)
def test_a_linked_part_is_named_and_nothing_is_written_behind_it(part, begun, tmp_path):
    folder, settings = begun
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("precious")
    (folder / part).parent.mkdir(parents=True, exist_ok=True)
    (folder / part).symlink_to(elsewhere if "." not in part else elsewhere / "mine.txt")
    with pytest.raises(RunError, match=rf"{part} is a symbolic link to .*elsewhere") as caught:
        run(settings, folder, resume=True)
    assert "--out" in str(caught.value)
    assert [path.name for path in elsewhere.iterdir()] == ["mine.txt"]
    assert (elsewhere / "mine.txt").read_text() == "precious"


def test_a_link_that_leads_nowhere_is_refused_too(begun):
    folder, settings = begun
    (folder / "steps").symlink_to("gone")
    with pytest.raises(RunError, match="steps is a symbolic link to gone"):
        run(settings, folder, resume=True)


def test_the_folder_itself_may_be_a_link(begun, tmp_path):
    folder, _ = begun
    (tmp_path / "scratch").symlink_to(folder)
    refuse_links(tmp_path / "scratch")


@pytest.mark.parametrize("part", ["start", "model", "run/steps"])
def test_pretraining_writes_through_no_link(part, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (out / part).parent.mkdir(parents=True)
    (out / part).symlink_to(elsewhere)
    with pytest.raises(RunError, match="is a symbolic link"):
        pretrain.run(pretrain.Recipe(tasks=str(tmp_path)), out, resume=True)
    assert not list(elsewhere.iterdir())
