"""The explorer of a report marks the key parts of a prompt, and says which rules an answer breaks and why."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpig import report
from kpig.records import NEW_WORDING, SEED_WORDING, Constraint, Example, Instruction, KeySpan, Task
from kpig.report import answered, broken, explorer, prompts
from kpig.report.prompts import Known
from kpig.runs import kept
from kpig.scoring.judge import judge
from kpig.tasks.constraints import CONSTRAINTS, parse, reasons, satisfied
from test_report import prediction, write_run

SEED = Instruction("Name the colour. Use one word.", (KeySpan(0, 15), KeySpan(17, 30, "length")))
NEW = Instruction("Which colour is it? One word.", (KeySpan(20, 29, "length"),), "new")
RULES = tuple(
    parse(raw, "here")
    for raw in (
        {"type": "max_words", "n": 2},
        {"type": "min_words", "n": 2},
        {"type": "casing", "case": "lower"},
        {"type": "contains", "values": ["red", "é"]},
        {"type": "one_of", "values": ["red", "dark red"]},
        {"type": "json", "shape": "list"},
        {"type": "not_equal_input"},
    )
)
EXAMPLE = Example("e1", "paint", SEED, "a rose", ("red",))
TASK = Task("paint", (SEED,), (), (EXAMPLE,), "accuracy", (), RULES, (NEW,))
KNOWN = Known(TASK, EXAMPLE)


def asked(prompt, wording=SEED_WORDING, **changes):
    fields = {"prompt": prompt, "references": ("red",), "example": "e1"} | changes
    return prediction("paint", "seen", 0, True, wording, **fields)


def marked(found):
    return [(text, kind) for text, kind in found if kind]


PLAIN = f"{SEED.text}\n\nInput: a rose\nOutput:"
PROMPTS = {
    "plain": PLAIN,
    "chat": f"<|user|>\n{PLAIN}<|end|>\n<|assistant|>\n",
    "system": f"<|system|>{SEED.text}<|user|>a rose<|assistant|>",
    "quoted before": f"Earlier: {SEED.text} Answer: blue.\n{PLAIN}",
    "quoted in the input": f"{SEED.text}\n\nInput: a rose, or {SEED.text}\nOutput:",
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_the_key_parts_of_the_instruction_are_marked_and_nothing_of_the_prompt_is_lost(prompt):
    found = prompts.pieces(asked(prompt), KNOWN)
    assert "".join(text for text, _ in found) == prompt
    assert marked(found) == [("Name the colour", "operation"), ("Use one word.", "length")]


def test_of_a_quoted_instruction_the_one_before_its_input_is_marked():
    found = prompts.pieces(asked(PROMPTS["quoted before"]), KNOWN)
    assert found[0][0].startswith("Earlier: Name the colour. Use one word.")


def test_a_new_wording_is_marked_by_its_own_key_parts():
    found = prompts.pieces(asked(f"{NEW.text}\n\nInput: a rose\nOutput:", NEW_WORDING), KNOWN)
    assert marked(found) == [("One word.", "length")]


@pytest.mark.parametrize("known", [Known(), Known(TASK), KNOWN], ids=["nothing", "task", "example"])
def test_a_prompt_without_the_instruction_is_one_piece(known):
    assert prompts.pieces(asked("something else"), known) == [("something else", "")]


WORDS = st.sampled_from(["red", "Red", "dark", "é", "a rose", "[]", "", "blue green"])


@given(st.lists(WORDS, max_size=4).map(" ".join))
def test_the_broken_rules_are_those_that_the_judge_found(response):
    judged = judge(TASK, EXAMPLE, response, group="seen", wording=SEED_WORDING, prompt="p")
    found = [place for place, _ in broken.broken(judged, KNOWN)]
    expected = [place for place, rule in enumerate(RULES) if satisfied(rule, "a rose", response) is False]
    assert found == expected


@pytest.mark.parametrize(
    "raw, response, why",
    [
        ({"type": "max_words", "n": 2}, "one two three", "it has 3 words"),
        ({"type": "min_words", "n": 2}, "one", "it has 1 word"),
        ({"type": "max_sentences", "n": 1}, "One. Two.", "it has 2 sentences"),
        ({"type": "min_characters", "n": 9}, " ab ", "it has 2 characters"),
        ({"type": "max_items", "n": 1, "item_separator": ","}, "a,b,c", "it has 3 items"),
        ({"type": "json", "shape": "object"}, "[1]", "it is a list"),
        ({"type": "json"}, "{", "it is no JSON: "),
        ({"type": "contains", "values": ["Ab", "cd"]}, "ab cd", 'it lacks "Ab"'),
        ({"type": "contains", "values": ["Ab", "x"], "case_sensitive": False}, "ab", 'it lacks "x"'),
        ({"type": "forbidden_words", "values": ["no", "never"]}, "No way", 'it has "no"'),
        ({"type": "casing", "case": "upper"}, "a", ""),
    ],
)
def test_why_a_rule_is_broken_is_said(raw, response, why):
    rule = parse(raw, "here")
    assert satisfied(rule, "", response) is False
    assert reasons.instead(rule, response).startswith(why)


PARAMS = {
    "one_of": {"values": ["yes", "no"]},
    "not_one_of": {"values": ["yes"]},
    "regex": {"pattern": "a+b\nc"},
    "not_regex": {"pattern": "a+"},
    "json": {"shape": "object", "keys": ["name"], "only_keys": True},
    "casing": {"case": "title"},
    "max_items": {"n": 4, "item_separator": "; "},
    "min_items": {"n": 4, "list": "bullets"},
    "count": {"n_of_input_items": {"input_separator": ","}, "item_separator": ",", "offset": -1},
    "starts_with": {"values": ["Dear"]},
    "ends_with": {"values": ["."]},
    "contains": {"values": ["x" * 500]},
    "forbidden_words": {"values": ["bad"]},
    "language": {"language": "de"},
    "items_from_input": {"item_separator": ","},
    "sorted_unique": {"item_separator": ","},
    "contains_input_items": {"input_separator": ","},
    "contains_input_capture": {"pattern": "(a)"},
    "shares_word_with_input": {"min": 2},
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_type_of_constraint_says_what_it_demands(name):
    params = PARAMS.get(name, {key: 7 for key in CONSTRAINTS[name].required})
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in params.items()}
    said = reasons.demand(Constraint(name, MappingProxyType(frozen)))
    assert "`" not in said and "\n" not in said and len(said) < 400 and said[0].islower()
    for value in params.values():
        if isinstance(value, int) and not isinstance(value, bool):
            assert str(abs(value)) in said


@pytest.mark.parametrize(
    "raw, said",
    [
        ({"type": "casing", "case": "upper"}, "the response is in capital letters"),
        ({"type": "count", "n": 1, "item_separator": " "}, 'the response has 1 item, cut at " "'),
        (
            {"type": "max_items", "n": 3, "list": "bullets"},
            "the response has at most 3 items, those of a list",
        ),
        ({"type": "one_of", "values": ["a", "b"]}, 'the response is one of "a", "b"'),
        ({"type": "json"}, "the response is JSON"),
    ],
)
def test_a_demand_reads_as_a_sentence(raw, said):
    assert reasons.demand(parse(raw, "here")).startswith(said)


@pytest.mark.parametrize(
    "fields, why",
    [
        ({"response": " "}, "it is empty"),
        ({"response": "x", "finished": False}, "it was cut off at the token limit"),
        ({"response": "x", "finished": True}, "it repeats the prompt or the input"),
    ],
)
def test_why_an_answer_is_degenerate_is_said(fields, why):
    assert broken.degenerate(asked("p", violations=("degenerate",), **fields)) == why
    assert broken.degenerate(asked("p", violations=(), **fields)) == ""


def test_a_run_that_keeps_its_tasks_shows_their_rules_and_key_parts(tmp_path):
    fields = {"prompt": PLAIN, "example": "e1", "response": "Dark red wine", "references": ("red",)}
    folder = write_run(
        tmp_path / "run", learned=(("paint",),), held_out=(), violations=("wrong_length",), **fields
    )
    kept.write(folder / "steps/01", [TASK])
    run = report.read_run(folder)
    found = explorer.explorer(answered.read(run), prompts.Examples(run))
    one = found["examples"][0]
    assert [text for text, kind in one["prompt"] if kind >= 0] == ["Name the colour", "Use one word."]
    assert one["rules"][0] == ("the response has at most 2 words", "wrong_length")
    assert one["answers"][0]["broken"] == [(0, "it has 3 words")]


def test_a_damaged_task_hides_its_rules_and_not_the_answers(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "steps/01/tasks").mkdir()
    (folder / "steps/01/tasks/a.json").write_text("{")
    run = report.read_run(folder)
    found = explorer.explorer(answered.read(run), prompts.Examples(run))
    assert found["examples"] and all(one["rules"] == [] for one in found["examples"])


@pytest.mark.parametrize("length", [5_999, 6_000, 6_001, 20_000])
def test_a_long_prompt_is_cut_and_says_so(length):
    found = explorer._bounded([("w" * 10, "length"), ("x" * (length - 10), "")])
    whole = "".join(text for text, _ in found)
    rest = max(0, length - explorer.MOST_PROMPT_CHARACTERS)
    assert found[0] == ("w" * 10, 3)
    assert whole.endswith(f"({rest} more characters)") == (rest > 0)
    assert len(whole) <= explorer.MOST_PROMPT_CHARACTERS + 40
