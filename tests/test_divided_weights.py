"""Engines that divide a model between processes are refused by name: kpig holds all of it in each."""

import pytest

from kpig.errors import UsageError
from kpig.ranks import launch
from launched import kpig

ENGINES = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}
SEVERAL = {"RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize("size", ["", "1", "2"])
@pytest.mark.parametrize("value", ["true", "True", "1", "yes"])
@pytest.mark.parametrize(("variable", "engine"), ENGINES.items())
def test_an_engine_that_divides_weights_is_refused_by_name(variable, engine, value, size):
    environment = SEVERAL | {f"ACCELERATE_USE_{variable}": value, "WORLD_SIZE": size}
    with pytest.raises(UsageError, match=rf"{engine}, which divides a model.*torchrun"):
        launch.found(environment)


@pytest.mark.parametrize("value", ["false", "False", "", "0"])
@pytest.mark.parametrize("variable", ENGINES)
def test_an_engine_that_is_off_is_no_matter(variable, value):
    assert launch.found({f"ACCELERATE_USE_{variable}": value}) is None
    assert launch.found(SEVERAL | {f"ACCELERATE_USE_{variable}": value, "WORLD_SIZE": "2"}).number == 1


def test_a_job_of_several_processes_ends_with_one_message_before_anything_is_written(tmp_path):
    done = kpig("run", "my.toml", "--out", tmp_path / "run", ACCELERATE_USE_FSDP="true")
    assert {one.returncode for one in done} == {2} and not list(tmp_path.iterdir())
    told = [one.stderr for one in done if one.stderr]
    assert len(told) == 1 and "ACCELERATE_USE_FSDP = 'true'" in told[0]
