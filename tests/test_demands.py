"""Demands are read from the words of an instruction, and kept where the training responses meet them."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpig.annotate import demands, proposals
from kpig.records import Example, Instruction, Task
from kpig.tasks import constraints


def task(instruction, *responses, given="Some input text.", name="t", stated=()):
    """A task of one training example for each response, and of two test examples that none may look at."""
    seed = Instruction(instruction)
    train = tuple(Example(f"{n}", name, seed, given, (one,)) for n, one in enumerate(responses))
    test = (Example("x", name, seed, given, ("never looked at",)),) * 2
    return Task(name, (seed,), train, test, "rougeL", constraints=stated)


def kept(instruction, *responses, **more):
    found = proposals.propose(task(instruction, *responses, **more)).kept
    return [{key: value for key, value in one.items() if key != "source"} for one in found]


LABELS = [
    ("Is the tone of this letter warm, cold or neutral?", ["warm", "cold", "neutral"], ["cold"]),
    ("Tag the ticket: bug / feature / question.", ["bug", "feature", "question"], ["bug", "feature"]),
    ("Label it 'spam' if it sells something, otherwise 'ham'.", ["spam", "ham"], ["ham", "spam"]),
    (
        "Pick one of the following genres: jazz, folk rock, soul.",
        ["jazz", "folk rock", "soul"],
        ["folk rock"],
    ),
    ("What is the season?\n- spring\n- summer\n- autumn", ["spring", "summer", "autumn"], ["summer"]),
    ("Choose: a) iron b) gold c) tin. Reply with the letter.", ["a", "b", "c"], ["b", "c"]),
    ("Rate the essay from 1 to 6.", ["1", "2", "3", "4", "5", "6"], ["2", "6"]),
    ("Say true or false.", ["true", "false"], ["false"]),
    (
        "Classify the animal as mammal (has fur), bird (has feathers) or fish.",
        ["mammal", "bird", "fish"],
        ["bird"],
    ),
    ("0 = rude, 1 = polite. Judge the reply.", ["0", "1"], ["1", "0"]),
]


@pytest.mark.parametrize(("instruction", "values", "responses"), LABELS)
def test_a_list_of_labels_is_read_in_many_notations(instruction, values, responses):
    found = kept(instruction, *responses)
    assert {"type": "one_of", "values": values} in found


DEMANDS = [
    ("Name the capital in at most 3 words.", "Oslo", [("max_words", {"n": 3})]),
    ("Describe the photo in fewer than twelve words.", "A dog", [("max_words", {"n": 11})]),
    ("Give a title of 3-5 words.", "How cats see us", [("max_words", {"n": 5}), ("min_words", {"n": 3})]),
    ("Write at least 4 words about it.", "It is very old", [("min_words", {"n": 4})]),
    ("Headline for the story, max. 40 characters.", "Rain again", [("max_characters", {"n": 40})]),
    (
        "Explain it in two sentences.",
        "It fell. It broke.",
        [("max_sentences", {"n": 2}), ("min_sentences", {"n": 2})],
    ),
    ("Sum it up. No more than 3 sentences!", "It fell.", [("max_sentences", {"n": 3})]),
    ("Explain, but do not exceed one sentence.", "It fell.", [("max_sentences", {"n": 1})]),
    (
        "Suggest four rhymes, separated by semicolons.",
        "a; b; c; d",
        [("count", {"list": "semicolons", "n": 4})],
    ),
    ("List up to 3 risks as bullet points.", "- fire\n- ice", [("max_items", {"list": "bullets", "n": 3})]),
    (
        "Give me at least two synonyms, one per line.",
        "big\nlarge",
        [("min_items", {"list": "lines", "n": 2})],
    ),
    ("Summarise as a bulleted list.", "- a\n- b", [("min_items", {"list": "bullets", "n": 1})]),
    ("Shout it back in capital letters.", "STOP NOW", [("casing", {"case": "upper"})]),
    ("Return the root, lowercase.", "run", [("casing", {"case": "lower"})]),
    (
        "Begin your reply with 'Dear customer,'.",
        "Dear customer, hi",
        [("starts_with", {"values": ["Dear customer,"]})],
    ),
    ("End with a question mark.", "Is it so?", [("ends_with", {"values": ["?"]})]),
    (
        'Do not use the words "very" or "really".',
        "It is good",
        [("forbidden_words", {"values": ["very", "really"]})],
    ),
    (
        "Describe a lemon without the word yellow.",
        "It is sour",
        [("forbidden_words", {"values": ["yellow"]})],
    ),
    ("Mention the word 'warranty'.", "Your warranty ends", [("contains", {"values": ["warranty"]})]),
    ("How tall is it? Number only.", "12", [("regex", {"pattern": r"[-+−]?\d+(?:[.,/]\d+)*"})]),
    ("Write the day as DD.MM.YYYY.", "04.12.2023", [("regex", {"pattern": r"\d{2}\.\d{2}\.\d{4}"})]),
    ("Réponds. Answer in French, please.", "Le chat dort sur le lit.", [("language", {"language": "fr"})]),
    (
        "Return JSON with the keys title, year.",
        '{"title": "x", "year": 1}',
        [("json", {"shape": "object", "keys": ["title", "year"], "only_keys": True})],
    ),
    (
        'Output a JSON object like {"who": "...", "when": "..."}.',
        '{"who": "x", "when": "y", "why": "z"}',
        [("json", {"shape": "object", "keys": ["who", "when"]})],
    ),
    ("Give the colours as a JSON array.", '["red"]', [("json", {"shape": "list"})]),
]


@pytest.mark.parametrize(
    ("instruction", "response", "expected"), DEMANDS, ids=[one[0][:30] for one in DEMANDS]
)
def test_a_demand_is_read_and_kept_where_the_responses_meet_it(instruction, response, expected):
    found = kept(instruction, response)
    for name, params in expected:
        assert {"type": name, **params} in found
    for entry in found:
        constraints.parse(entry, "here")


NO_DEMANDS = [
    ("You are given a text of at most 50 words. Find its topic.", "tea"),
    ("Given two sentences, say which is older.", "the first one is older"),
    ("The input is a review in French. What does it praise?", "the soup"),
    ("Do not use capital letters for names that have none.", "ADA"),
    ("The input is JSON. Which person is oldest?", "Ada"),
    ("Each item has one word. Repeat all.", "a b c"),
]


@pytest.mark.parametrize(("instruction", "response"), NO_DEMANDS)
def test_what_describes_the_input_is_no_demand(instruction, response):
    limits = ("words", "sentences", "language", "casing", "json", "one_of")
    assert [one for one in kept(instruction, response) if one["type"].endswith(limits)] == []


def test_a_proposal_is_kept_from_98_percent_of_the_responses_on_and_else_told():
    fine, long = ["one two"] * 98, ["one two three four"]
    assert [one["type"] for one in kept("Answer in at most 3 words.", *fine, *long * 2)] == ["max_words"]
    found = proposals.propose(task("Answer in at most 3 words.", *fine, *long * 3))
    assert found.kept == () and [(one.type, round(one.share, 2)) for one in found.dropped] == [
        ("max_words", 0.97)
    ]
    lines = list(proposals.told({"t": found}))
    assert "1 more were dropped, as fewer than 98 % of the training responses" in lines[0]
    assert (
        "t: max_words from 'in at most 3 words' (97 %)" in lines[0] or "at most 3 words' (97 %)" in lines[0]
    )


def test_every_reference_of_an_example_counts():
    seed = Instruction("Answer in at most 2 words.")
    two = Example("1", "t", seed, "", ("a b", "a b c"))
    found = proposals.propose(Task("t", (seed,), (two,), (two,), "rougeL"))
    assert found.num_responses == 2 and found.dropped[0].share == 0.5


def test_nothing_is_proposed_where_examples_have_instructions_of_their_own():
    seed, own = Instruction("Answer in at most 2 words."), Instruction("Tell a story.", origin="own")
    short, story = Example("1", "t", seed, "", ("a b",)), Example("2", "t", own, "", ("a b c d",))
    assert proposals.propose(Task("t", (seed,), (short, story), (short,), "rougeL")).kept == ()
    assert proposals.propose(Task("t", (seed,), (short,), (short,), "rougeL")).kept != ()


def test_without_training_responses_nothing_is_kept_and_it_is_said():
    found = proposals.propose(task("Answer in at most 2 words."))
    assert found.kept == () and "no training responses to bear out" in next(proposals.told({"t": found}))


def test_labels_in_other_capitals_than_the_responses_are_compared_without_case():
    found = kept("Is it a Good Deal or a Bad Deal?", "good deal", "Bad deal")
    assert {"type": "one_of", "values": ["Good Deal", "Bad Deal"], "case_sensitive": False} in found


def test_a_demand_of_a_language_waits_for_the_detector(monkeypatch):
    monkeypatch.setattr("kpig.tasks.constraints.languages.is_installed", lambda: False)
    found = proposals.propose(task("Answer in Spanish.", "El gato duerme en la cama."))
    assert found.kept == () and len(found.unread) == 1
    assert "pip install 'kpig[languages]'" in list(proposals.told({"t": found}))[-1]


WORDS = st.sampled_from(
    (
        "at most",
        "exactly",
        "one",
        "a",
        "two",
        "sentences",
        "words",
        "in",
        "JSON",
        "keys",
        "name",
        "or",
        ",",
        ".",
        ":",
        "\n",
        "- ",
        "1)",
        "2)",
        "'x'",
        '"',
        "“",
        "{",
        "}",
        "yes",
        "no",
        "not use the word",
        "start with",
        "French",
        "a hundred",
        "1,000",
        "/",
        "|",
        "-",
        "999999",
        "猫",
        "A-Z",
    )
)


@given(st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=40).map(" ".join))
@example("at most \n / at most")
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_and_every_reading_is_a_constraint_of_any_response(text):
    for demand in demands.read(text):
        assert demand.readings and isinstance(demand.source, str)
        for entry in demand.readings:
            constraint = constraints.parse(entry, "here")
            if entry["type"] != "language":
                assert constraints.satisfied(constraint, "given", text) in (True, False, None)


# --- constraints.json ----------------------------------------------------------------------------------

LIMIT = [{"type": "max_words", "n": 3, "source": "3 words"}]


def test_what_is_written_is_read_and_hand_made_entries_are_kept(tmp_path):
    path = tmp_path / "constraints.json"
    path.write_text(json.dumps({"hand": [{"type": "json"}], "other": []}))
    written = proposals.write(path, {"hand": LIMIT, "mine": LIMIT})
    assert written.tasks == ("mine",) and written.kept == ("hand",)
    found = json.loads(path.read_text())
    assert found["hand"] == [{"type": "json"}] and found["other"] == []
    assert constraints.parse(found["mine"][0], "x").params == {"n": 3}
    assert not proposals.is_by_hand(found["mine"]) and proposals.is_by_hand(found["hand"])


@pytest.mark.parametrize("change", ["edited", "removed", "added"])
def test_a_corrected_list_is_the_users(tmp_path, change):
    path = tmp_path / "constraints.json"
    proposals.write(path, {"t": [*LIMIT, {"type": "json"}]})
    raw = json.loads(path.read_text())
    if change == "edited":
        raw["t"][0]["n"] = 4
    elif change == "removed":
        raw["t"].pop()
    else:
        raw["t"].append({"type": "casing", "case": "lower"})
    path.write_text(json.dumps(raw))
    assert proposals.write(path, {"t": LIMIT}).kept == ("t",)
    assert json.loads(path.read_text()) == raw
    assert proposals.write(path, {"t": LIMIT}, overwrite=True).tasks == ("t",)
    assert [one["type"] for one in json.loads(path.read_text())["t"]] == ["max_words"]


def test_own_entries_go_where_nothing_is_proposed_any_more_and_no_file_is_made_for_nothing(tmp_path):
    path = tmp_path / "constraints.json"
    proposals.write(path, {"t": ()})
    assert not path.exists()
    proposals.write(path, {"t": LIMIT, "u": LIMIT})
    proposals.write(path, {"t": ()})
    assert list(json.loads(path.read_text())) == ["u"]


def test_constraints_stated_in_the_rows_count_as_made_by_hand(tmp_path):
    path = tmp_path / "constraints.json"
    rows = task("Answer in 2 words.", "a b", name="rows", stated=(constraints.parse({"type": "json"}, "x"),))
    proposals.write(path, {"file": LIMIT})
    ours = task("Answer.", "a", name="file", stated=(constraints.parse({"type": "max_words", "n": 3}, "x"),))
    assert proposals.stated(path, [rows, ours]) == {"rows"}


@pytest.mark.parametrize(
    "unit",
    [
        "a, b or c. ",
        "'x' or ",
        "1) a ",
        "at most 3 words ",
        "in French ",
        "\n- a",
        "the ",
        "a/b|",
        "JSON keys a, ",
        "(",
        " ",
        "\n",
        "do not use the word ",
        "write a ",
        "given a ",
        "1: a, ",
        "one of ",
        "no ",
        '"',
        "A-B ",
    ],
)
def test_reading_ten_times_the_text_takes_about_ten_times_as_long(unit):
    """At most 40 times: a square would take 100."""
    short, long = (measured(unit * (size // len(unit))) for size in (1_500, 15_000))
    assert long < 40 * max(short, 0.01)


def measured(text):
    begun = time.process_time()
    demands.read(text)
    return time.process_time() - begun
