"""Requests that hold their data: what they share asks, what differs is data."""

import itertools

import pytest

from kpig.annotate import among, rules


def found(*texts):
    spans = among.find_all(texts)
    return [[text[one.start : one.end] for one in spans[text]] for text in texts]


GERMAN = "Translate into German: "
MEND = "Fix the verb in this line.\n"
LIKED = "\nWas the film liked?"


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        (GERMAN + "Good morning, my friend.", GERMAN + "The cat sleeps.", GERMAN.strip(": ")),
        (MEND + "He go home.", MEND + "We was late, sadly.", MEND.strip(".\n")),
        ("Dull, long, loud." + LIKED, "Write more of these!" + LIKED, LIKED.strip()),
    ],
)
def test_data_behind_or_before_shared_words_is_no_key_part(one, other, key):
    assert found(one, other) == [[key], [key]]


@pytest.mark.parametrize("shared", ["You are a helpful assistant. ", "The shop sells lamps and tents.\n"])
def test_shared_words_that_ask_for_nothing_are_no_request(shared):
    first, second = found(shared + "Translate the word into German.", shared + "Count the letters.")
    assert "Translate the word into German" in first and "Count the letters" in second
    assert not any(shared[:12] in one for one in (*first, *second))


def test_a_demand_that_differs_is_kept():
    first, second = found("Name three fruits. Use one word each.", "Name three fruits. Use two words each.")
    assert "Use one word each" in first and "Use two words each" in second


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Correct the grammar: he go to school", ["Correct the grammar"]),
        ("Answer with yes or no: Is the sky blue?", ["Answer with yes or no"]),
        ("Classify the sentiment: positive, negative or neutral.", None),
        ("Write a title: at most five words.", None),
        ("Name the capital of Norway.", None),
    ],
)
def test_alone_what_stands_behind_a_colon_is_data_unless_it_says_how(text, keys):
    whole = [text[one.start : one.end] for one in rules.find(text)]
    assert found(text) == [whole if keys is None else keys]


def test_every_text_is_there_once_and_spans_are_in_order():
    texts = ["Do it.", "Do it.", "", "Do it: a", "Do it: b", ":", "a: b: c"]
    spans = among.find_all(texts)
    assert list(spans) == list(dict.fromkeys(texts))
    for text, parts in spans.items():
        assert list(parts) == sorted(parts) and all(one.end <= len(text) for one in parts)
        assert all(left.end <= right.start for left, right in itertools.pairwise(parts))


def test_many_requests_take_time_in_proportion():
    """At this size a comparison of each with each would take an hour."""
    texts = [f"Translate into German: sentence number {n}, {'word ' * (n % 7)}end." for n in range(20_000)]
    assert len(among.find_all(texts)) == 20_000
