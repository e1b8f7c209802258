"""Coverage: told where key parts are nearly the whole instruction, by `annotate`, `show` and `check`."""

import pytest

from kpig import config
from kpig.records import Instruction, KeySpan, Stream, Task
from kpig.runs.check import cautions
from kpig.tasks import coverage


def test_white_space_does_not_count_to_a_share():
    assert coverage.share(Instruction("ab  cd\n", (KeySpan(0, 4),))) == 0.5
    assert coverage.share(Instruction("  \n")) == coverage.share(Instruction("abc")) == 0.0


@pytest.mark.parametrize(("end", "is_told"), [(8, False), (9, True), (10, True)])
def test_more_than_four_fifths_of_an_instruction_are_told_with_name_and_share(end, is_told):
    found = coverage.cautions([("plants", Instruction("abcdefghij", (KeySpan(0, end),)))])
    assert bool(found) == is_told
    assert all("plants" in one and f"{10 * end} %" in one for one in found)


def test_a_task_is_told_once_with_its_largest_share():
    whole, most = Instruction("abcdefghij", (KeySpan(0, 10),)), Instruction("abcdefghij", (KeySpan(0, 9),))
    (told,) = coverage.cautions([("a", most), ("a", whole), ("b", Instruction("abc"))])
    assert "a 100 %" in told and "90" not in told and "b " not in told.split("(")[1]


def test_check_tells_of_a_task_of_the_stream_and_of_one_held_out():
    whole = Instruction("Sort it.", (KeySpan(0, 7),))
    seen, held_out = (Task(name, (whole,), (), (), "rougeL") for name in ("seen", "held"))
    told = cautions(config.build({}), Stream("two", ((seen,),), (held_out,)))
    assert any("seen 86 %, held 86 %" in one for one in told)
