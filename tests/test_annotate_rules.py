"""Key parts by rules: valid on any text, close to hand annotation, and measured by honest agreement."""

import itertools
import json
import math
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpig.annotate import Agreement, clauses, compare, find, macro
from kpig.records import KEY_PART_KINDS, KeySpan
from kpig.tasks import suite

DATA_DIR = Path(__file__).parents[1].parent / "shared" / "data"
PHRASES = st.sampled_from(
    [
        "You are given a list. ",
        "Your task is to",
        " sort it",
        ", e.g. ",
        "(i.e., ",
        ")",
        '"Yes"',
        "'",
        " or ",
        ": ",
        "If ",
        "answer 'No'",
        ". ",
        "Do not ",
        "\n",
        "otherwise",
        "; ",
        "Note that ",
        "A. ",
        "3.5",
        "For example, ",
    ]
)
TEXTS = st.one_of(st.text(max_size=120), st.lists(PHRASES, max_size=20).map("".join))


def key_texts(text):
    return [text[span.start : span.end] for span in find(text)]


def key(text):
    return " | ".join(key_texts(text))


# --- spans -------------------------------------------------------------------------------------------


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_spans_of_any_text_are_sorted_apart_inside_and_not_blank(text):
    spans = find(text)
    assert list(spans) == sorted(spans)
    assert all(left.end <= right.start for left, right in itertools.pairwise(spans))
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
        found = text[span.start : span.end]
        assert found == found.strip() and not found.endswith((".", "!", ",", ";", ":"))
        assert span.kind in KEY_PART_KINDS


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_clauses_of_any_text_are_in_order_and_apart(text):
    found = clauses.split(text)
    assert all(left.end <= right.start for left, right in itertools.pairwise(found))
    assert all(text[clause.start : clause.end].strip() for clause in found)


def test_a_text_that_asks_for_nothing_has_no_key_parts():
    assert find("") == find("   \n") == find("You are given a sentence.") == ()


def test_an_abbreviation_a_decimal_and_a_quotation_end_no_sentence():
    text = "Round 3.5 to 4, e.g. as \"4. Done\". You are given 'a. B'. Use it, i.e. print it."
    assert [text[start:end] for start, end in clauses.sentences(text)] == [
        'Round 3.5 to 4, e.g. as "4. Done".',
        "You are given 'a. B'.",
        "Use it, i.e. print it.",
    ]


def test_lettered_items_after_a_colon_stay_in_one_sentence():
    text = "Here are some ideas: A. Ask why. B. Ask when. You can do more."
    assert len(clauses.sentences(text)) == 2


# --- what is key -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "carrier",
    [
        "Your task is to",
        "You need to",
        "You must",
        "Please",
        "The goal is to",
        "You are expected to",
        "You should",
        "You're required to",
        "We ask you to",
        "Your job:",
        "Can you please",
        "In this task, you have to",
    ],
)
def test_a_carrier_stays_outside(carrier):
    assert key(f"You are given a text. {carrier} shorten the text.") == "shorten the text"


def test_a_negation_stays_inside_and_the_final_full_stop_outside():
    assert key("Write a poem. Do not rhyme.") == "Write a poem | Do not rhyme"
    assert key("You must not rhyme.") == "not rhyme"


@pytest.mark.parametrize(
    "description",
    [
        "In this task, you are given a review.",
        "You will be presented with a review.",
        "Given a review,",
        "A review will be given to you and",
        "The input is a review.",
        "Below is a review.",
        "I will give you a review.",
    ],
)
def test_openers_and_input_descriptions_are_not_key(description):
    assert key(f"{description} your task is to find its topic.") == "find its topic"


def test_an_imperative_after_an_input_description_is_key():
    assert key("Given a premise, decide whether it holds.") == "decide whether it holds"
    assert key("Read the story and write its moral.") == "write its moral"


def test_a_label_list_at_the_end_is_a_span_of_its_own():
    text = "Given a tweet, classify it into three classes: positive, negative, or neutral."
    assert key(text) == "classify it into three classes | positive, negative, or neutral"
    assert [span.kind for span in find(text)] == ["operation", "label_set"]


def test_a_condition_with_its_answer_is_key():
    text = "You are given a number. If it is even, answer 'Even', otherwise answer 'Odd'."
    assert key(text) == "If it is even, answer 'Even' | otherwise answer 'Odd'"


def test_a_definition_of_a_label_or_of_the_output_is_key_and_one_of_the_input_is_not():
    text = "You are given a pun. A pun is a joke. Label it as 'good' or 'bad'. A good pun is short."
    assert key(text) == "Label it | as 'good' or 'bad' | A good pun is short"
    assert (
        key("Find the verb. The verb must be in the text.") == "Find the verb | The verb must be in the text"
    )


def test_examples_and_permissions_are_not_key():
    text = (
        "Write a question (e.g., Who is the king of France?). For example, ask for a name. You can use slang."
    )
    assert key(text) == "Write a question"


def test_a_demand_in_brackets_is_a_span_without_the_brackets():
    assert (
        key("Remove odd numbers (consider 0 an even number).")
        == "Remove odd numbers | consider 0 an even number"
    )


def test_format_and_length_are_told_apart():
    spans = find(
        "Write a title. The output should be in lower case. Your title must have at most five words."
    )
    assert [span.kind for span in spans] == ["operation", "format", "length"]


# --- short instructions ------------------------------------------------------------------------------

MARKS = dict(o="operation", l="label_set", f="format", n="length", c="content", r="reference")
SHORT = Path(__file__).parent / "golden" / "short_instructions.txt"


def marked(line):
    """The text of a line without marks such as "[o:an operation]", and the spans that they state."""
    text, spans, opened, depth = "", [], None, 0
    while line:
        mark = None if opened else re.match(r"\[([olfncr]):", line)
        if mark:
            opened, depth, line = (len(text), MARKS[mark[1]]), 1, line[mark.end() :]
            continue
        depth += (line[0] == "[") - (line[0] == "]")
        if opened and not depth:
            spans.append(KeySpan(opened[0], len(text), opened[1]))
            opened = None
        else:
            text += line[0]
        line = line[1:]
    return text, spans


def short_instructions():
    """Two of each genre, written for this test; a tab goes on with the line above."""
    lines = re.split(r"\n(?!\t)", SHORT.read_text(encoding="utf-8").strip())
    return [marked(line.split("\t", 1)[1].replace("\n\t", "\n")) for line in lines]


def kinds(text):
    return [(span.kind, text[span.start : span.end]) for span in find(text)]


def test_short_instructions_of_thirty_genres_are_annotated_nearly_as_by_hand():
    stated = short_instructions()
    f1, correlation = macro([compare(text, find(text), spans) for text, spans in stated])
    assert len(stated) == 60 and f1 > 0.98 and correlation > 0.96
    met = [span in find(text) for text, spans in stated for span in spans]
    assert sum(met) / len(met) > 0.85


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (": calm/tense/unclear", "calm/tense/unclear"),
        (": calm | tense | unclear", "calm | tense | unclear"),
        (": calm, tense or unclear.", "calm, tense or unclear"),
        (' as "calm" or "tense".', 'as "calm" or "tense"'),
        (" (calm/tense).", "calm/tense"),
        (":\n- calm\n- very tense", "calm\n- very tense"),
        (":\n1) calm\n2) not tense", "calm\n2) not tense"),
        (". 1) calm 2) tense 3) unclear.", "1) calm 2) tense 3) unclear"),
        (". 0 = calm, 1 = tense.", "0 = calm, 1 = tense"),
        (". Choose one of: calm, tense.", "Choose one of: calm, tense"),
        (". Yes or no only.", "Yes or no only"),
        (".\nLABELS: calm; tense", "calm; tense"),
    ],
)
def test_a_list_of_labels_is_one_span_in_every_notation(listed, found):
    assert kinds(f"Classify the voice{listed}") == [("operation", "Classify the voice"), ("label_set", found)]


@pytest.mark.parametrize(
    ("tail", "kind", "found"),
    [
        (" in at most nine words.", "length", "in at most nine words"),
        (", no more than two sentences.", "length", "no more than two sentences"),
        (" to 12 words or fewer.", "length", "to 12 words or fewer"),
        (", max. 90 characters.", "length", "max. 90 characters"),
        ("; it must fit in 60 characters.", "length", "it must fit in 60 characters"),
        (" as YAML.", "format", "as YAML"),
        (" in plain Danish.", "format", "in plain Danish"),
        (", lower case.", "format", "lower case"),
        (", ending with a dash.", "format", "ending with a dash"),
        (" and nothing else.", "format", "nothing else"),
        (" politely.", "format", "politely"),
        (", without any greeting.", "format", "without any greeting"),
        (" so that it sounds calm.", "format", "so that it sounds calm"),
        (", but do not name the town.", "content", "do not name the town"),
        (" and leave all dates alone.", "content", "leave all dates alone"),
        (", then translate the result.", "operation", "translate the result"),
        (" with a phrase copied from it.", "reference", "with a phrase copied from it"),
    ],
)
def test_what_bounds_forms_or_follows_an_operation_is_a_span_of_its_own(tail, kind, found):
    assert kinds(f"Retell the diary{tail}") == [("operation", "Retell the diary"), (kind, found)]


@pytest.mark.parametrize(
    ("fragment", "kind"),
    [
        ("YAML only", "format"),
        ("No comments", "format"),
        ("Just the number", "format"),
        ("Two words", "length"),
        ("At most three lines", "length"),
        ("No names of people", "content"),
        ("True or false", "label_set"),
    ],
)
def test_a_fragment_after_the_operation_is_key(fragment, kind):
    assert kinds(f"Judge the claim. {fragment}.")[1:] == [(kind, fragment)]


@pytest.mark.parametrize(
    "background",
    [
        "Our drivers must be at the depot by six and cannot read long notes.",
        "The bakery has to throw away what it should have sold.",
        "My sister needs to move and I have to help her, which nobody should envy.",
        "A letter from a lighthouse.",
        "You are Ada, a patient librarian.",
        "Look at the receipt below.",
        "Hello, many thanks for your help!",
        "CONTEXT: notes of a night watchman.",
        "# Role\nCook on a ship\n# Task\n",
    ],
)
def test_background_orders_to_read_and_headings_are_not_key(background):
    assert key(f"{background} Name the street.") == "Name the street"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("**Task:** shorten to a slogan", "shorten to a slogan"),
        ("TASK: mood", "mood"),
        ("I need a slogan, at most 5 words.", "a slogan | at most 5 words"),
        ("Wanted: a rhyme, one line.", "a rhyme | one line"),
        ("Plural of the noun, upper case.", "Plural of the noun | upper case"),
        ("Finnish please.", "Finnish"),
        ("The shop sells tea. The tea comes from afar.", "The tea comes from afar"),
    ],
)
def test_something_is_found_where_no_clause_has_a_verb_that_asks(text, found):
    assert key(text) == found


def test_examples_that_fix_the_form_are_key_and_worked_ones_are_not():
    assert kinds("Tidy the entry. Example: 'tea 2x' becomes '2 x tea'.")[1:] == [
        ("format", "'tea 2x' becomes '2 x tea'")
    ]
    assert key("Tidy the entry. Example: tea was bought twice by the cook, so the answer is 2.") == (
        "Tidy the entry"
    )


# --- long instructions -------------------------------------------------------------------------------

SHAPES = [
    "Sort the list in French, at most 3 words. ",
    "Use this, e.g. that, etc. and so ",
    "\n",
    "\n \t",
    "(a) ",
    "((",
    "'a' ",
    "A: ",
    "to a, ",
    "a | b ",
    "Classify: a: b, c ",
    "- item\n",
    "1) a 2) b ",
    "note that ",
    "one of the words, ",
    "....",
    "*",
    '"',
    "(",
    " ",
    "a-",
    "**a",
    "{'a': ",
    "k: ... ",
    'If "a", answer "b"; ',
]


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_times_the_text_makes_about_ten_times_the_calls(shape):
    few, many = num_calls(shape * 60), num_calls(shape * 600)
    assert many <= 12 * few + 500


@pytest.mark.parametrize("shape", SHAPES)
def test_an_instruction_of_twenty_thousand_characters_is_no_matter(shape):
    find(("Do it. " + shape * 20_000)[:20_000])  # what is quadratic inside one pattern runs for minutes here


def num_calls(text):
    """Functions of Python and C that are called while the key parts of a text are found."""
    count = itertools.count()
    sys.setprofile(lambda frame, event, argument: next(count) if event.endswith("call") else None)
    try:
        find(text)
    finally:
        sys.setprofile(None)
    return next(count)


# --- agreement ---------------------------------------------------------------------------------------


def test_identical_spans_agree_fully():
    assert (compare("Do it.", [KeySpan(0, 5)], [KeySpan(0, 5, "format")])) == Agreement(4, 0, 0, 1)
    assert Agreement(4, 0, 0, 1).f1 == Agreement(4, 0, 0, 1).correlation == 1


def test_calling_the_whole_text_key_has_high_f1_and_correlation_0():
    whole = compare("abcdefghij", [KeySpan(0, 10)], [KeySpan(0, 8)])
    assert whole.f1 == pytest.approx(2 * 0.8 / 1.8) and whole.correlation == 0


def test_finding_nothing_agrees_only_with_nothing_stated():
    neither, missed = compare("ab", [], []), compare("ab", [], [KeySpan(0, 1)])
    invented = compare("ab", [KeySpan(0, 1)], [])
    assert (neither.f1, neither.correlation) == (1, 1)
    assert (missed.f1, missed.correlation, invented.f1, invented.correlation) == (0, 0, 0, 0)


def test_white_space_does_not_count():
    assert compare("a b", [KeySpan(0, 3)], [KeySpan(0, 1), KeySpan(2, 3)]) == Agreement(2, 0, 0, 0)


def test_a_hand_worked_case():
    one = compare("abcdefgh", [KeySpan(0, 4)], [KeySpan(1, 6)])
    assert one == Agreement(3, 1, 2, 2)
    assert one.f1 == pytest.approx(6 / 9)
    assert one.correlation == pytest.approx((3 * 2 - 1 * 2) / math.sqrt(4 * 5 * 3 * 4))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30))
def test_correlation_is_the_pearson_correlation_of_the_two_indicators(pairs):
    found = [KeySpan(i, i + 1) for i, (left, _) in enumerate(pairs) if left]
    stated = [KeySpan(i, i + 1) for i, (_, right) in enumerate(pairs) if right]
    mean = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
    moments = [sum((p[i] - mean[i]) * (p[j] - mean[j]) for p in pairs) for i, j in ((0, 1), (0, 0), (1, 1))]
    if moments[1] > 1e-9 and moments[2] > 1e-9:
        expected = moments[0] / math.sqrt(moments[1] * moments[2])
        assert compare("x" * len(pairs), found, stated).correlation == pytest.approx(expected)


def test_the_macro_mean_counts_every_instruction_once_and_refuses_none():
    short, long = Agreement(1, 0, 0, 1), Agreement(0, 50, 50, 0)
    assert macro([short, long]) == (0.5, pytest.approx((1 - 1) / 2))
    with pytest.raises(ValueError, match="at least one"):
        macro([])


# --- measured against hand annotation ------------------------------------------------------------------


def measured(dataset):
    path = DATA_DIR / dataset / "keyparts.json"
    if not path.exists():
        pytest.skip(f"shared/data/{dataset}/keyparts.json is not there")
    agreements = []
    for task in json.loads(path.read_text(encoding="utf-8")).values():
        stated = [KeySpan(part["start"], part["end"]) for part in task["key_parts"]]
        agreements.append(compare(task["definition"], find(task["definition"]), stated))
    return macro(agreements)


def test_agreement_on_the_tasks_that_the_rules_were_made_on_stays_at_its_level():
    f1, correlation = measured("superni-stream")
    assert f1 > 0.97 and correlation > 0.96


def test_agreement_on_definitions_that_the_rules_were_not_made_on_stays_at_its_level():
    f1, correlation = measured("superni-heldout")  # first measured at 0.881 and 0.775; see docs/results.md
    assert f1 > 0.9 and correlation > 0.77


def test_agreement_on_short_instructions_stays_at_its_level():
    f1, correlation = measured("short-instructions")
    assert f1 > 0.98 and correlation > 0.95


def test_every_wording_of_the_built_in_suite_is_annotated_exactly_with_its_kinds():
    for composition in (*suite.base_skills(), *suite.free_compositions()):
        for general, operation in itertools.product(range(5), repeat=2):
            wording = suite.instruction(composition, general, operation, (general + operation) % 5)
            assert find(wording.text) == wording.key_parts
