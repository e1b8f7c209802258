"""Constraints agree with the shared annotation, and every type and every refusal does what it says."""

import importlib.util
import json
import random
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from kpig.errors import DataError
from kpig.records import Constraint
from kpig.tasks.constraints import (
    CONSTRAINTS,
    KINDS,
    MAX_MATCHED_CHARACTERS,
    UNDECIDED,
    is_degenerate,
    parse,
    satisfied,
    violations,
)
from kpig.tasks.constraints.items import LISTS

DATA_DIR = Path(__file__).parents[1].parent / "shared" / "data"
STREAMS = ("superni-stream", "superni-heldout")
needs_shared_data = pytest.mark.skipif(
    not (DATA_DIR / "check_constraints.py").exists(),
    reason="the shared annotation (shared/data beside the repository) is not there",
)


@cache
def entries(stream: str) -> list[tuple[str, dict, list[dict]]]:
    """Task name, entry and instances for every entry of a shared constraints.json."""
    rows = []
    raw = json.loads((DATA_DIR / stream / "constraints.json").read_text(encoding="utf-8"))
    for task, of_task in raw.items():
        text = (DATA_DIR / stream / "tasks" / f"{task}.json").read_text(encoding="utf-8")
        instances = json.loads(text)["Instances"]
        rows += [(task, entry, instances) for entry in of_task]
    return rows


@cache
def published_check():
    spec = importlib.util.spec_from_file_location("check_constraints", DATA_DIR / "check_constraints.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check


def percent(results: list[bool]) -> float:
    return 100 * sum(results) / len(results)


def damaged(gold: str, other: str, input_text: str) -> Iterator[str]:
    """The gold output and what a model might write instead."""
    yield from (gold, other, gold.upper(), gold.lower(), gold[: len(gold) // 2], gold[1:], "", " ")
    yield from (f" {gold}\n", f"{gold}.", f"The answer is {gold}", f"{gold}, {gold}", f"{gold} {other}")
    yield from (input_text, input_text.upper(), input_text[:40], " ".join(reversed(gold.split())))


@needs_shared_data
@pytest.mark.parametrize("stream", STREAMS)
def test_recorded_gold_rates_are_reproduced(stream):
    for task, entry, instances in entries(stream):
        constraint = parse(entry, task)
        by_instance = [[satisfied(constraint, i["input"], o) for o in i["output"]] for i in instances]
        every, first = [r for of in by_instance for r in of], [of[0] for of in by_instance]
        assert percent(every) == pytest.approx(entry["gold_satisfied_pct"], abs=0.05), (task, entry)
        assert percent(first) == pytest.approx(entry["gold_first_ref_satisfied_pct"], abs=0.05), (task, entry)


@needs_shared_data
@pytest.mark.parametrize("stream", STREAMS)
def test_agrees_with_the_published_checker_on_gold_and_on_damaged_outputs(stream):
    check, results = published_check(), []
    for task, entry, instances in entries(stream):
        constraint = parse(entry, task)
        others = random.Random(task).sample(instances, len(instances))
        for instance, other in zip(instances[:60], others, strict=False):
            for response in damaged(instance["output"][0], other["output"][0], instance["input"]):
                expected = check(entry, instance["input"], response)
                assert satisfied(constraint, instance["input"], response) == expected, (task, entry, response)
                results.append(expected)
    assert len(results) > 10_000
    assert 20 < percent(results) < 80, "the damage must break constraints often, and not always"


@needs_shared_data
def test_every_irregular_form_counts_as_it_does_in_the_published_checker():
    check, published = published_check(), published_check().__globals__["IRR"]
    entry = {"type": "contains_input_items", "input_separator": "#"}
    constraint = parse(entry, "here")
    every_form = [form for word, forms in published.items() for form in (word, *forms.split())]
    pairs = [(word, form) for word in published for form in every_form]
    results = [satisfied(constraint, *pair) for pair in pairs]
    assert results == [check(entry, *pair) for pair in pairs]
    assert sum(results) > 2 * len(published)


LIST_INPUT = "2, ['b', 'a', '7']"
LONG_INPUT = "A dog chased the Red Ball across a very wide field."

# type, parameters, input, responses that pass, responses that fail, kind
CASES = [
    ("one_of", {"values": ["Yes", "No"]}, "", ["Yes", " No\n"], ["yes", "Yes.", ""], "out_of_scope"),
    ("one_of", {"values": ["Yes"], "case_sensitive": False}, "", ["yes", "YES"], ["no"], "out_of_scope"),
    ("not_one_of", {"values": ["the"]}, "", ["dog", "The"], ["the"], "out_of_scope"),
    ("not_one_of", {"values": ["The"], "case_sensitive": False}, "", ["dog"], ["the"], "out_of_scope"),
    ("regex", {"pattern": r"\d+"}, "", ["12", " 7 "], ["12 apples", ""], "wrong_format"),
    ("not_regex", {"pattern": r"(?i)the\s.*"}, "", ["dog"], ["The dog"], "wrong_format"),
    ("json", {}, "", ['{"a": [1, null]}', "3"], ["{a: 1}", "NaN", "[Infinity]", ""], "wrong_format"),
    ("json", {}, "", ["[]", "9" * 5000], ["[" * 9000, "[1] [2]"], "wrong_format"),
    ("json", {"shape": "list"}, "", ["[1]", "[]"], ['{"a": 1}', '"a"'], "wrong_format"),
    ("json", {"shape": "object"}, "", ['{"a": 1}'], ["[1]", "null"], "wrong_format"),
    ("json", {"shape": "list_of_strings"}, "", ['["a"]', "[]"], ["[1]", '{"a": 1}'], "wrong_format"),
    ("max_words", {"n": 2}, "", ["one two", ""], ["one two three"], "wrong_length"),
    ("min_words", {"n": 2}, "", ["one two"], ["one", ""], "wrong_length"),
    ("count", {"item_separator": ", ", "n": 3}, "", ["a, b, c"], ["a, b", "a,b,c"], "wrong_length"),
    (
        "count",
        {"item_separator": ", ", "n_from_input_regex": r"^(\d+|all),"},
        LIST_INPUT,
        ["b, a"],
        ["b", "b, a, 7"],
        "wrong_length",
    ),
    (
        "count",
        {"item_separator": "-", "n_of_input_items": {"input_separator": " "}},
        " w x y \n",
        ["a-b-c"],
        ["a-b", "a b c"],
        "wrong_length",
    ),
    (
        "count",
        {"item_separator": "-", "n_of_input_items": {"input_separator": " "}, "offset": -1},
        "w x y",
        ["a-b"],
        ["a-b-c"],
        "wrong_length",
    ),
    (
        "json",
        {"keys": ["a", "b"]},
        "",
        ['{"b": 1, "a": [], "c": 2}'],
        ['{"a": 1}', '["a", "b"]'],
        "wrong_format",
    ),
    (
        "json",
        {"keys": ["a"], "only_keys": True},
        "",
        ['{"a": 1}'],
        ['{"a": 1, "b": 2}', "{}", '```json\n{"a": 1}\n```'],
        "wrong_format",
    ),
    (
        "json",
        {"shape": "list", "keys": ["a"]},
        "",
        ['[{"a": 1}, {"a": 2, "b": 3}]', "[]"],
        ['{"a": 1}', '[{"a": 1}, 2]', '[{"b": 1}]'],
        "wrong_format",
    ),
    ("max_words", {"n": 4}, "", ["我有3个", "猫が好き"], ["我有三个苹果", "我 有 三 个 猫"], "wrong_length"),
    ("min_words", {"n": 3}, "", ["我有猫", "ich habe Katzen"], ["我有", "ja-nein doch!"], "wrong_length"),
    (
        "max_sentences",
        {"n": 1},
        "",
        ["Dr. Ott came at 3.30 p.m. today.", "one two", "“Go!” she said.", "彼は「行く。」と言った。"],
        ["Go. Stay.", "Go! stay", "行く。来る。", "One\nTwo", "वह गया। वह आया।"],
        "wrong_length",
    ),
    (
        "min_sentences",
        {"n": 2},
        "",
        ["Go. Stay?", "- go\n- stay"],
        ["Go to No. 7.", "", "Wait..."],
        "wrong_length",
    ),
    (
        "max_characters",
        {"n": 3},
        "",
        [" abc ", "e\u0301\U0001f1f3\U0001f1f4"],
        ["abcd", "a bc"],
        "wrong_length",
    ),
    ("min_characters", {"n": 3}, "", ["abc", "猫と犬"], ["ab", "", "e\u0301a"], "wrong_length"),
    (
        "max_items",
        {"n": 2, "list": "commas"},
        "",
        ["a, b", "1,000, 2", ""],
        ["a, b, c", "a、b、c"],
        "wrong_length",
    ),
    ("max_items", {"n": 2, "item_separator": " | "}, "", ["a | b", "a|b|c"], ["a | b | c"], "wrong_length"),
    (
        "min_items",
        {"n": 2, "list": "bullets"},
        "",
        ["- a\n- b", "Two:\n• a\n•b"],
        ["a\nb", "- a", ""],
        "wrong_length",
    ),
    ("min_items", {"n": 2, "list": "semicolons"}, "", ["a; b", "a;b;c"], ["a;", "a, b"], "wrong_length"),
    (
        "count",
        {"list": "numbers", "n": 3},
        "",
        ["1. a\n2. b\n3. c", "1) a 2) b 3) c", "1. a\n   more\n1. b\n1. c"],
        ["1. a\n2. b", "a, b, c", "1. In 2020. 4. x"],
        "wrong_length",
    ),
    ("count", {"list": "lines", "n": 2}, "", ["a\n\nb"], ["a", "a\nb\nc"], "wrong_length"),
    (
        "forbidden_words",
        {"values": ["very", "in fact", "don't", "?", "猫"]},
        "",
        ["every day", "in factories", "dont"],
        ["Very good", "VERY.", "in  fact", "I don\u2019t", "why?", "黒猫だ"],
        "wrong_format",
    ),
    (
        "forbidden_words",
        {"values": ["US"], "case_sensitive": True},
        "",
        ["join us"],
        ["the US."],
        "wrong_format",
    ),
    (
        "language",
        {"language": "French"},
        "",
        ["Le chat dort sur le lit.", "Paris", "42", "oui", ""],
        ["The cat sleeps on the bed.", "Die Katze schläft auf dem Bett.", "猫が寝ています"],
        "wrong_format",
    ),
    (
        "language",
        {"language": "no"},
        "",
        ["Katten sover på senga si i kveld."],
        ["She walked to the market early in the morning."],
        "wrong_format",
    ),
    ("starts_with", {"values": ["A:", "B:"]}, "", ["A: x", "B: y"], ["C: A: x", "a: x"], "wrong_format"),
    ("ends_with", {"values": ["?", "!"]}, "", ["Why?", "Now! "], ["Why? Well."], "wrong_format"),
    ("casing", {"case": "upper"}, "", ["RED 7"], ["Red"], "wrong_format"),
    ("casing", {"case": "lower"}, "", ["red 7"], ["Red"], "wrong_format"),
    ("casing", {"case": "title"}, "", ["Red Ball", "Don't Go"], ["Red ball"], "wrong_format"),
    ("contains", {"values": ["red", "ball"]}, "", ["a ball, red"], ["a ball", "Red ball"], "missing_content"),
    ("contains", {"values": ["Red"], "case_sensitive": False}, "", ["rED"], ["blue"], "missing_content"),
    ("items_from_input", {"item_separator": ", "}, LIST_INPUT, ["b, 7", "a"], ["2", "B"], "out_of_scope"),
    (
        "items_from_input",
        {"item_separator": "-", "input_separator": " "},
        "red ball \n",
        ["ball-red"],
        ["red-blue", "Red", "red ball"],
        "out_of_scope",
    ),
    (
        "items_from_input",
        {"item_separator": ", ", "case_sensitive": False},
        LIST_INPUT,
        ["B, 7"],
        ["c"],
        "out_of_scope",
    ),
    ("sorted_unique", {"item_separator": " "}, "", ["a b c"], ["b a", "a a"], "wrong_format"),
    ("substring_of_input", {}, LONG_INPUT, ["red  ball", "a dog."], ["blue ball"], "out_of_scope"),
    (
        "substring_of_input",
        {"or_values": ["Unknown"]},
        LONG_INPUT,
        ["unknown", "dog"],
        ["unknown dog"],
        "out_of_scope",
    ),
    ("words_from_input", {}, LONG_INPUT, ["Ball, RED", "the dog's"], ["the cat"], "out_of_scope"),
    ("words_from_input", {"ignore": ["is"]}, LONG_INPUT, ["Is red"], ["Are red"], "out_of_scope"),
    ("shares_word_with_input", {"min": 2}, LONG_INPUT, ["chases balls"], ["balls"], "missing_content"),
    (
        "contains_input_items",
        {"input_separator": ", "},
        "New York, ice cream, 猫",
        ["New York has ice cream and 猫", "two ice creams for 猫猫 in new york"],
        ["York has ice cream and 猫", "New York has cream and 猫", "New York has ice cream"],
        "missing_content",
    ),
    (
        "contains_input_items",
        {"input_separator": "#"},
        "man#ride#use",
        ["Men rode, using reins.", "A man rides and used it"],
        ["A man walks"],
        "missing_content",
    ),
    (
        "contains_input_capture",
        {"pattern": r"name\[([^\]]*)\]"},
        "name[The Mill], food[Thai]",
        ["Eat at the mill."],
        ["Eat Thai."],
        "missing_content",
    ),
    ("contains_input_capture", {"pattern": "(z)"}, "name", [], ["anything"], "missing_content"),
    (
        "contains_input_capture",
        {"pattern": "(z)", "optional": True},
        "name",
        ["anything"],
        [],
        "missing_content",
    ),
    ("not_equal_input", {}, "A  dog", ["a cat"], ["a dog "], "missing_content"),
    ("shorter_than_input", {}, "A dog ", ["A do"], ["A dog", "A dogs"], "wrong_length"),
    ("degenerate", {}, "A dog", ["a cat"], ["a  dog", ""], "degenerate"),
]


@pytest.mark.parametrize(("name", "params", "input_text", "good", "bad", "kind"), CASES)
def test_each_type_lets_good_responses_pass_and_names_the_kind_of_bad_ones(
    name, params, input_text, good, bad, kind
):
    constraint = parse({"type": name, **params}, "here")
    assert all(satisfied(constraint, input_text, response) for response in good)
    assert not any(satisfied(constraint, input_text, response) for response in bad)
    assert all(violations([constraint], input_text, response)[0] == kind for response in bad)


def test_each_type_has_a_passing_and_a_failing_case():
    assert {case[0] for case in CASES if case[3]} == set(CONSTRAINTS)
    assert {case[0] for case in CASES if case[4]} == set(CONSTRAINTS)
    assert {constraint_type.kind for constraint_type in CONSTRAINTS.values()} == set(KINDS)


REFUSED = [
    ({"type": "on_of", "values": ["a"]}, "'on_of' is no constraint type; did you mean 'one_of'?"),
    ({"type": "zzz"}, "'zzz' is no constraint type; known: one_of, not_one_of,"),
    ({"values": ["a"]}, "'type' is missing in the constraint"),
    ({"type": ["regex"]}, "['regex'] is no constraint type"),
    ({"type": "one_of"}, "one_of: 'values' is missing"),
    (
        {"type": "one_of", "values": ["a"], "case_sensitve": True},
        "'case_sensitve' is no parameter; did you mean 'case_sensitive'?",
    ),
    ({"type": "not_equal_input", "values": ["a"]}, "'values' is no parameter; known: kind"),
    ({"type": "max_words", "n": 1, "kind": "wrong_lenght"}, "did you mean 'wrong_length'?"),
    ({"type": "max_words", "n": 1, "kind": ["degenerate"]}, "is no kind"),
    (
        {"type": "regex", "pattern": "(a"},
        "'pattern' must be a regular expression that Python can compile (mis",
    ),
    ({"type": "regex", "pattern": 3}, "'pattern' must be a text that is not empty, not 3"),
    ({"type": "contains_input_capture", "pattern": "a"}, "a pattern with a group in parentheses"),
    ({"type": "count", "item_separator": ",", "n_from_input_regex": "[0"}, "can compile (unterminated"),
    ({"type": "one_of", "values": "Yes"}, "'values' must be a list of texts, none of them empty, not 'Yes'"),
    ({"type": "one_of", "values": [1, 2]}, "'values' must be a list of texts"),
    ({"type": "one_of", "values": []}, "'values' must be a list of texts"),
    ({"type": "one_of", "values": ["a"], "case_sensitive": "yes"}, "must be true or false, not 'yes'"),
    ({"type": "words_from_input", "ignore": ["Is"]}, "'ignore' must be a list of texts in small letters"),
    ({"type": "max_words", "n": -1}, "'n' must be a whole number, 0 or more, not -1"),
    ({"type": "max_words", "n": True}, "'n' must be a whole number, 0 or more, not True"),
    ({"type": "max_words", "n": 2.0}, "'n' must be a whole number, 0 or more, not 2.0"),
    ({"type": "casing", "case": "camel"}, "'case' must be one of upper, lower, title, not 'camel'"),
    ({"type": "json", "shape": "array"}, "one of list, object, list_of_strings, not 'array'"),
    ({"type": "sorted_unique", "item_separator": ""}, "a text that is not empty, not ''"),
    ({"type": "count", "n": 1}, "count: give exactly one of item_separator, list"),
    ({"type": "max_items", "n": 1, "list": "bulets"}, "one of bullets, numbers, lines, commas, semicolons"),
    ({"type": "min_items", "n": 1, "list": "lines", "item_separator": "a"}, "one of item_separator, list"),
    ({"type": "max_sentences", "n": "2"}, "'n' must be a whole number, 0 or more, not '2'"),
    ({"type": "json", "only_keys": True}, "'only_keys' goes with 'keys' only"),
    ({"type": "json", "keys": ["a"], "shape": "list_of_strings"}, "give the shape 'object' or 'list'"),
    ({"type": "json", "key": ["a"]}, "did you mean 'keys'?"),
    ({"type": "language", "language": "Frensh"}, "as 'French' or 'fr'; did you mean 'French'?, not 'Frensh'"),
    ({"type": "language", "language": 3}, "'language' must be a language by its English name"),
    ({"type": "count", "item_separator": ","}, "give exactly one of n, n_from_input_regex, n_of_input_items"),
    ({"type": "count", "item_separator": ",", "n": 1, "n_from_input_regex": "(1)"}, "give exactly one of"),
    ({"type": "count", "item_separator": ",", "n": 1, "offset": 1}, "'offset' goes with 'n_of_input_items'"),
    (
        {"type": "count", "item_separator": ",", "n_of_input_items": {"input_separator": " "}, "offset": "1"},
        "'offset' must be a whole number, not '1'",
    ),
    ({"type": "count", "item_separator": ",", "n_of_input_items": " "}, "the key 'input_separator' alone"),
    (
        {"type": "count", "item_separator": ",", "n_of_input_items": {"input_separator": ""}},
        "an object whose 'input_separator' is a text that is not empty",
    ),
    ("one_of", "a constraint must be an object with a 'type', not 'one_of'"),
]


@pytest.mark.parametrize(("raw", "message"), REFUSED)
def test_each_mistake_in_an_entry_is_one_line_that_says_where_and_what(raw, message):
    with pytest.raises(DataError) as refused:
        parse(raw, "my.json task 3")
    assert str(refused.value).startswith("my.json task 3: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_mistakes_in_an_entry_are_told_at_once():
    with pytest.raises(DataError) as refused:
        parse({"type": "regex", "patern": "a", "kind": "x"}, "here")
    lines = str(refused.value).splitlines()
    assert len(lines) == 3 and all(line.startswith("here: regex: ") for line in lines)


def test_documentation_is_no_part_of_the_constraint():
    raw = {"type": "max_words", "n": 3, "source": "s", "strength": "explicit", "note": "n", "match": "m"}
    assert parse({**raw, "gold_satisfied_pct": 100.0}, "here") == parse({"type": "max_words", "n": 3}, "here")
    assert dict(parse(raw, "here").params) == {"n": 3}


def test_an_entry_may_override_the_kind():
    constraint = parse({"type": "regex", "pattern": "a", "kind": "missing_content"}, "here")
    assert violations([constraint], "", "b") == ("missing_content",)


def test_each_broken_constraint_counts_once_in_order():
    constraints = [Constraint("max_words", {"n": 1}), Constraint("casing", {"case": "lower"})]
    assert violations(constraints, "", "One Two") == ("wrong_length", "wrong_format")
    assert violations(constraints[::-1], "", "One Two") == ("wrong_format", "wrong_length")
    assert violations(constraints, "", "one") == ()
    assert violations([constraints[0]] * 2, "", "one two") == ("wrong_length", "wrong_length")


def test_an_empty_or_cut_off_response_is_degenerate_besides_what_it_breaks():
    yes = Constraint("one_of", {"values": ("Yes",)})
    assert violations([yes], "", " \n") == ("out_of_scope", "degenerate")
    assert violations([yes], "", "Yes", finished=False) == ("degenerate",)
    assert violations([], "", "") == ("degenerate",)
    assert violations([], "", "Yes") == ()


def test_a_copy_of_the_prompt_or_of_its_long_end_is_degenerate():
    prompt = "Repeat what follows. " + " ".join(f"word{n}" for n in range(25)) + "\nAnswer:"
    words = prompt.split()
    assert is_degenerate("", prompt.upper().replace(" ", "  "), prompt=prompt)
    assert is_degenerate("", " ".join(words[-20:]), prompt=prompt)
    assert not is_degenerate("", " ".join(words[-19:]), prompt=prompt)
    assert not is_degenerate("", " ".join(words[-21:-1]), prompt=prompt)
    assert not is_degenerate("", prompt + " yes", prompt=prompt)
    assert is_degenerate("", "Say hi", prompt="say  hi")


def test_a_copy_of_the_input_is_degenerate_only_where_a_constraint_says_so():
    input_text = " ".join(f"word{n}" for n in range(30))
    prompt = f"Copy the words.\n{input_text}"
    assert violations([], input_text, input_text, prompt=prompt) == ()
    assert violations([], input_text, " ".join(input_text.split()[5:]), prompt=prompt) == ()
    assert violations([Constraint("degenerate")], input_text, input_text) == ("degenerate",)
    assert violations([Constraint("not_equal_input")], input_text, input_text) == ("missing_content",)


@pytest.mark.parametrize(("name", "pattern"), [("regex", "a*"), ("not_regex", "b*")])
def test_a_response_too_long_to_match_fails_both_pattern_types(name, pattern):
    constraint = parse({"type": name, "pattern": pattern}, "here")
    assert satisfied(constraint, "", "a" * MAX_MATCHED_CHARACTERS)
    assert not satisfied(constraint, "", "a" * (MAX_MATCHED_CHARACTERS + 1))


def test_a_pattern_that_would_take_for_ever_is_given_up_without_a_verdict():
    begun = time.process_time()
    for name in ("regex", "not_regex"):
        constraint = parse({"type": name, "pattern": "(a|aa|a+)+(b|bb)+(a+)+$"}, "here")
        response = "a" * 5000 + "b" * 40 + "a" * 4000 + "c"
        assert satisfied(constraint, "", response) is None
        assert violations([constraint], "", response) == (UNDECIDED,)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    ("name", "n", "verdict"),
    [
        ("max_words", 1, False),
        ("max_words", 6, None),
        ("max_words", 40, True),
        ("min_words", 2, True),
        ("min_words", 9, None),
        ("min_words", 60, False),
        ("max_sentences", 1, None),
        ("min_sentences", 3, False),
    ],
)
def test_a_limit_within_what_a_script_leaves_open_gets_no_verdict(name, n, verdict):
    assert satisfied(parse({"type": name, "n": n}, "here"), "", "ฉันชอบแมว เธอชอบหมา") is verdict


@pytest.mark.parametrize(
    "unit", ["a. ", ". ", "\n", " ", "1. ", "e.g. ", "“. ", "ก ", "猫", "- ", "A\u0301", "don't, "]
)
def test_counting_takes_ten_times_as_long_for_ten_times_the_text(unit):
    """At most 40 times: a square would take 100."""
    checks = [
        {"type": "max_words", "n": 3},
        {"type": "max_sentences", "n": 3},
        {"type": "max_characters", "n": 3},
        *({"type": "max_items", "n": 3, "list": kind} for kind in LISTS),
        {"type": "forbidden_words", "values": ["don't", "so"]},
    ]
    parsed = [parse(one, "here") for one in checks]
    short, long = (measured(parsed, "x" + unit * n + "x") for n in (1_000, 10_000))
    assert long < 40 * max(short, 0.002)


def measured(parsed, text):
    begun = time.process_time()
    for one in parsed:
        satisfied(one, "", text)
    return time.process_time() - begun
