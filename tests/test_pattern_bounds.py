"""Patterns of task files are bounded before they are compiled."""

import time

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from kpig.errors import DataError
from kpig.records import Example, Instruction, Task
from kpig.scoring import scores
from kpig.scoring.judge import judge
from kpig.tasks import constraints
from kpig.tasks.constraints.bounds import MAX_COMPILED, MAX_PATTERN_CHARACTERS, check_bounds

TOO_LARGE = [
    "((a{1000}){1000}){1000}",
    "(?:(?:[a-z]{500}){0,500}){2,500}",
    "x{1000000000}",
    "((a{1,1000}){1,1000}){,1000}",
    "x{0,1000000000}",
    "x{99999999999999999999999999999999999999}",
    "((a{1000}[)]){1000}[)]){1000}",
    "((a{1000}[[:alpha:])]){1000}){1000}",
    "((a{1000}[]()]){1000}){1000}",
    r"((a{1000}\)){1000}){1000}",
    "((a{1000}(?# :-) ){1000}){1000}",
    "(?x) # [\n ((a{1000}) {1000}){1000}",
    "(?V1)[[a](]((a{1000}){1000}){1000}",
    "(?i:((a{1000}){1000}){1000})",
    "(((((b{10}){10}){10}){10}){10}){10}",
    "(?:(?:a{100}|b{100}){100}?){100}+",
]
CALLS = ["(?R)", "((?1))", "(a(?1)?)", "(?<n>x(?&n))", "(?P<n>(?P>n))", "((?+1)(a))", "(a)(?-1)", "a|(?0)"]
SOUND = [
    "(?:yes|no)",
    r"\d{3}-\d{3}-\d{4}",
    r"(?:[^,]{1,60}, ){0,40}[^,]{1,60}",
    ".{0,5000}",
    r"(?:[a-z]{1,60},){3,5000}",
    "a{1000}",
    r"\((.+)\)",
    "(?i)a{2,}",
    "(?-i:a)(?=b)(?<!c)(?<name>d)(?P=name)",
    "a{,3}{x}",
    "[{1000}]{3}",
    r"\p{Lu}{2}\N{DIGIT ONE}",
]


@pytest.mark.parametrize(
    "pattern", [*TOO_LARGE, *CALLS, "a" * (MAX_PATTERN_CHARACTERS + 1), "(" * 9_000 + ")" * 900]
)
@pytest.mark.parametrize("kind", ["regex", "not_regex"])
def test_a_pattern_beyond_the_bounds_is_refused_by_name_and_limit_at_once(pattern, kind):
    begin = time.process_time()
    with pytest.raises(DataError, match="'pattern' must be") as caught:
        constraints.parse({"type": kind, "pattern": pattern}, "constraints.json: task 't'")
    assert time.process_time() - begin < 1
    assert repr(pattern)[1:30] in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("pattern", SOUND)
def test_sound_patterns_are_taken_as_before(pattern):
    assert constraints.parse({"type": "regex", "pattern": pattern}, "x").params["pattern"] == pattern


@given(
    st.recursive(
        st.sampled_from(["a", "[)]", r"\(", "b|c"]),
        lambda inner: st.builds(
            lambda one, more, n: f"({one}){{{n}}}{more}", inner, inner, st.integers(1, 9)
        ),
        max_leaves=8,
    )
)
def test_the_size_is_at_least_that_of_the_longest_text_matched(pattern):
    try:
        check_bounds(pattern)
    except ValueError:
        return
    regex.compile(pattern)
    sizes = eval_size(pattern)
    assert sizes <= MAX_COMPILED


def eval_size(pattern):
    """Characters that the pattern needs, written out by Python's own parser."""
    import re._parser as parser

    return parser.parse(pattern).getwidth()[0]


SLOW = {
    "type": "count",
    "item_separator": ",",
    "n_from_input_regex": r"(?|(a|aa|a+)+(?:b|bb)+(?:a+)+$|(\d)$)",
}


@pytest.mark.parametrize(
    "slow", [SLOW, {"type": "contains_input_capture", "pattern": SLOW["n_from_input_regex"]}]
)
def test_a_verdict_that_ran_out_of_time_is_told_and_counted_and_no_violation(slow, monkeypatch, caplog):
    monkeypatch.setattr("kpig.tasks.constraints.patterns.MAX_MATCH_SECONDS", 0.02)
    seed = Instruction("Answer.")
    text = "a" * 900 + "b" * 40 + "a" * 900 + "c"
    examples = (Example("1", "t", seed, text, ("x",)), Example("2", "t", seed, "ab1", ("x",)))
    rules = (constraints.parse(slow, "here"), constraints.parse({"type": "max_words", "n": 1}, "here"))
    task = Task("t", (seed,), (), examples, "accuracy", constraints=rules)
    found = [
        judge(task, one, response, group="seen", wording="seed", prompt="Answer.")
        for one, response in zip(examples, ("x", "x y z"), strict=True)
    ]
    assert found[0].violations == ("undecided",)
    score = scores.step_scores(0, found, [task])
    assert score.tasks["t"].v_score == 50 and score.seen.v_score == 50
    assert score.tasks["t"].violations["undecided"] == score.seen.violations["undecided"] == 50
    assert "1 of 2 responses have a demand whose pattern ran out of time" in caplog.text
    fine = scores.step_scores(0, found[1:], [task])
    assert "undecided" not in fine.tasks["t"].violations and "undecided" not in fine.seen.violations
