"""Ten times the input, about ten times the time: sizes at which a quadratic form would take minutes."""

import csv
import json
import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from kpig.annotate import by_llm
from kpig.errors import MOST_COMPARED, DataError, nearest
from kpig.llm import Answer
from kpig.model import encoded, encoding
from kpig.model.encoding import Encoder
from kpig.records import Example, Instruction, KeySpan, Task
from kpig.report import record
from kpig.tasks import matching, stream
from kpig.tasks.key_parts import locate
from kpig.tasks.problems import MOST_PROBLEMS_SHOWN, Problems
from kpig.tasks.readers.annotations import refuse_strangers
from kpig.tasks.readers.values import kept_rows, read_row

SEED = Instruction("Name the colour of the fruit.")


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# --- names and ids -------------------------------------------------------------------------------


def test_the_last_two_of_many_ids_that_are_the_same_are_found():
    count = 100_000
    problems, ids = Problems(), (str(min(number, count - 2)) for number in range(count))
    rows = [read_row({"output": "red"}, one, None, "f", "f", problems) for one in ids]
    with pytest.raises(DataError, match=f"'{count - 2}' stands for several"):
        kept_rows(rows, "f")


def test_thousands_of_strangers_are_counted_and_the_first_get_a_hint(tmp_path):
    problems = Problems()
    known = {f"task{number:05d}_colour_of_fruit" for number in range(20_000)}
    refuse_strangers(tmp_path, [f"task{n:05d}_color_of_fruit" for n in range(20_000)], known, problems)
    with pytest.raises(DataError, match=rf"and {20_000 - MOST_PROBLEMS_SHOWN} more problems"):
        problems.check()
    assert "did you mean 'task00000_colour_of_fruit'" in problems.found[0]


def test_a_hint_does_not_depend_on_the_order_of_what_is_known():
    names = [f"{number:06d}_colour_of_fruit" for number in range(50_000)]
    for slip in ("031415_color_of_fruit", "31415_colour_of_fruit", "031415_colour_of_friut"):
        assert {nearest(slip, order) for order in (names, names[::-1], set(names))} == {
            "031415_colour_of_fruit"
        }


def test_a_slip_is_found_among_a_million_names_and_in_a_text_as_long_as_a_book():
    names = [f"{number:06d}_row" for number in range(1_000_000)]
    assert nearest("colour_of_friut", [*names, "colour_of_fruit"]) == "colour_of_fruit"
    book = "It was the best of times. " * 40_000
    assert nearest(book + "End.", [book, "another"]) == book


@given(st.text(max_size=9), st.lists(st.text(max_size=9), max_size=12))
def test_the_nearest_of_few_names_is_difflibs(word, known):
    import difflib

    found = difflib.get_close_matches(word, known, 1, 0.6)
    assert nearest(word, known) == (found[0] if found else None)
    assert len(known) < MOST_COMPARED


def test_problems_beyond_those_shown_are_only_counted():
    problems = Problems()
    for number in range(1_000):
        with problems.collected():
            raise DataError(f"one {number}\ntwo {number}")
    assert len(problems.found) == MOST_PROBLEMS_SHOWN
    assert problems.num_more == 2_000 - MOST_PROBLEMS_SHOWN


# --- wordings and steps ----------------------------------------------------------------------------


def test_a_task_whose_examples_all_have_wordings_of_their_own_is_described(tmp_path):
    count = 30_000
    wordings = tuple(Instruction(f"Wording {number}.", (KeySpan(0, 7),)) for number in range(count))
    examples = tuple(Example(str(n), "t", one, "", ("red",)) for n, one in enumerate(wordings))
    task = Task("t", wordings, examples, (), "accuracy")
    assert task.own_instructions == ()
    assert {task.longest_wording(example).text for example in examples} == {"Wording 10000."}
    own = replace(task, instructions=wordings[:1])
    assert len(own.own_instructions) == count - 1
    assert own.longest_wording(examples[3]) == wordings[3]


def test_thousands_of_steps_are_put_in_order(tmp_path):
    count = 8_000
    rows = [
        {
            "task": f"t{n}",
            "instruction": "Go.",
            "input": split,
            "output": "on",
            "split": split,
            "step": count - n,
        }
        for n in range(count)
        for split in ("train", "test")
    ]
    found = stream.load(write_lines(tmp_path / "many.jsonl", rows))
    assert [step[0].name for step in found.steps[:2]] == [f"t{count - 1}", f"t{count - 2}"]
    assert len(found.steps) == count


# --- key parts ----------------------------------------------------------------------------------------


def test_key_parts_that_occur_thousands_of_times_are_placed_in_turn():
    count = 20_000
    spans = locate("go " * count, ["go"] * count, "f")
    assert [span.start for span in spans[:3]] == [0, 3, 6]
    assert len(spans) == count
    with pytest.raises(DataError, match="overlaps another"):
        locate("go " * count, ["go"] * (count + 1), "f")


def placed_by_trying(text, parts):
    """Where `locate` must place each part: at its first occurrence that is clear of all placed before."""
    taken = []
    for part in parts:
        starts = [n for n in range(len(text)) if text.startswith(part, n)]
        free = [
            n for n in starts if not any(n < other + len(p) and other < n + len(part) for other, p in taken)
        ]
        if not free:
            return None
        taken.append((free[0], part))
    return sorted((start, start + len(part)) for start, part in taken)


@given(st.text("ab", min_size=1, max_size=14), st.lists(st.text("ab", min_size=1, max_size=3), max_size=5))
def test_key_parts_are_placed_where_trying_every_place_puts_them(text, parts):
    expected = placed_by_trying(text, parts)
    if expected is None:
        with pytest.raises(DataError):
            locate(text, parts, "f")
    else:
        assert [(span.start, span.end) for span in locate(text, parts, "f")] == expected


@pytest.mark.parametrize(
    "text", ["```" + "\n" * 200_000, "```json" * 50_000, "```a" + " " * 200_000, "`" * 200_000]
)
def test_an_answer_of_nothing_but_a_fence_is_refused(text):
    assert by_llm.read("Go on.", Answer(text, 1, 1)).rejections[0].reason == "not JSON"


def test_an_answer_in_a_fence_is_read_whatever_white_space_stands_around_it():
    inside = json.dumps({"key_parts": [{"text": "Go", "kind": "operation"}]})
    around = (("Here:\n```json \t\n\n \n", "\n```\nDone."), ("```\n", "```"), ("```JSON\n", " ```"))
    for fenced in (f"{before}{inside}{after}" for before, after in around):
        assert by_llm.read("Go on.", Answer(fenced, 1, 1)).spans == (KeySpan(0, 2),)


def test_an_answer_that_names_one_part_a_thousand_times_is_placed_in_turn():
    parts = [{"text": "go", "kind": "operation"}] * 1_000
    found = by_llm.read("go " * 1_000, Answer(json.dumps(parts), 1, 1))
    assert found.spans == tuple(KeySpan(3 * n, 3 * n + 2) for n in range(1_000))


# --- scoring and reports -------------------------------------------------------------------------------


def words(rng, count, vocabulary):
    return " ".join(f"word{rng.randrange(vocabulary)}" for _ in range(count))


def test_rouge_l_of_long_texts_needs_little_memory():
    rng = random.Random(7)
    response, reference = words(rng, 9_000, 900), words(rng, 11_000, 900)
    matching.rouge_l("warm", ["up"])
    tracemalloc.start()
    score = matching.rouge_l(response, [reference])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.05 < score < 0.5
    assert peak < 30 * 2**20


@pytest.mark.parametrize("words_in_block", [1, 3, 4096])
def test_rouge_l_is_the_published_scorers_to_the_bit(monkeypatch, words_in_block):
    monkeypatch.setattr(matching, "WORDS_IN_BLOCK", words_in_block)
    published, rng = RougeScorer(["rougeL"], use_stemmer=True), random.Random(words_in_block)
    for _ in range(200):
        vocabulary = rng.choice((2, 4, 40))
        response = words(rng, rng.randrange(25), vocabulary)
        references = [words(rng, rng.randrange(25), vocabulary) for _ in range(2)]
        expected = max(published.score(one, response)["rougeL"].fmeasure for one in references)
        assert matching.rouge_l(response, references) == expected


@settings(max_examples=60)
@given(st.text("aA b.ß-", max_size=20), st.lists(st.text("aA b.ß-", max_size=20), min_size=1, max_size=3))
def test_rouge_l_of_odd_texts_is_the_published_scorers(response, references):
    published = RougeScorer(["rougeL"], use_stemmer=True)
    expected = max(published.score(one, response)["rougeL"].fmeasure for one in references)
    assert matching.rouge_l(response, references) == expected


def test_collisions_among_thousands_of_references_of_one_example_are_found():
    references = [f"answer {number}" for number in range(20_000)]
    assert matching.collisions([references, ["answer 5!"]]) == [("answer 5", "answer 5!")]


def test_thousands_of_runs_get_labels_that_differ(tmp_path):
    names = [f"method {number % 3}" for number in range(12_000)]
    runs = [record.RunRecord(tmp_path, name, None, {}, {}) for name in names]
    assert len({run.name for run in record.distinct(runs)}) == len(runs)


def test_every_line_of_the_benchmark_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import growth

    for number, (name, (size, make)) in enumerate(growth.CASES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder, size // 10)()
        assert name.islower()


# --- encoded examples ------------------------------------------------------------------------------


def encoded_many(encoder, count, start=0):
    """Examples with inputs of their own, encoded."""
    rng = random.Random(start)
    words = [f"word{number}" for number in range(300)]
    return [
        encoder.encode(Example(str(n), "t", SEED, " ".join(rng.choices(words, k=30)), ("plum pear",)))
        for n in range(start, start + count)
    ]


def test_an_encoded_example_takes_about_8_bytes_for_a_token(tokenizer):
    encoder = Encoder(tokenizer, 512)
    encoded_many(encoder, 3)
    tracemalloc.start()
    found = encoded_many(encoder, 500, start=10)
    held = tracemalloc.get_traced_memory()[0] / len(found)
    tracemalloc.stop()
    mean = sum(one.num_tokens for one in found) / len(found)
    texts = sum(len(one.text) + len(one.example.input) for one in found) / len(found)
    assert held < 10 * mean + texts + 1_200


def test_what_is_kept_encoded_is_bounded_and_the_newest_stays(tokenizer, monkeypatch):
    monkeypatch.setattr(encoding, "MAX_CACHED", 37)
    encoder = Encoder(tokenizer, 512)
    sizes = []
    for start in range(0, 200, 5):
        found = encoded_many(encoder, 5, start)
        assert encoder.encode(found[-1].example).prompt is found[-1].prompt, "no second tokenizing"
        sizes.append(len(encoder._cache))
    assert max(sizes) <= 37 and min(sizes[8:]) >= 33, "a few go at a time, never all"


# --- files of rows ---------------------------------------------------------------------------------


def peak_and_held(action):
    """Bytes at most, and bytes held by the result."""
    action()
    tracemalloc.start()
    found = action()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found
    return peak, held


def many_rows(count, num_tasks, **more):
    rng = random.Random(count)
    words = [f"word{number}" for number in range(300)]
    return [
        {"task": f"t{n % num_tasks}", "instruction": SEED.text}
        | {"input": " ".join(rng.choices(words, k=20)), "output": " ".join(rng.choices(words, k=3))}
        | more
        for n in range(count)
    ]


@pytest.mark.parametrize("num_tasks", [1, 7])
def test_reading_rows_takes_little_more_than_the_examples_that_come_of_it(tmp_path, num_tasks):
    path = write_lines(tmp_path / "t.jsonl", many_rows(2_000, num_tasks))
    peak, held = peak_and_held(lambda: stream.load(path))
    assert peak < 1.5 * held


def write_table(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return path


@pytest.mark.parametrize("write, name", [(write_lines, "t.jsonl"), (write_table, "t.csv")])
def test_what_a_file_holds_beside_its_examples_is_never_in_memory_at_once(tmp_path, write, name):
    path = write(tmp_path / name, [row | {"note": "plum " * 2_000} for row in many_rows(600, 1)])
    peak, _ = peak_and_held(lambda: stream.load(path))
    assert peak < path.stat().st_size / 4


def test_kept_examples_that_are_not_the_newest_take_about_2_bytes_for_a_token(tokenizer, monkeypatch):
    monkeypatch.setattr(encoded, "MAX_UNPACKED", 16)
    encoder = Encoder(tokenizer, 512)
    examples = [one.example for one in encoded_many(Encoder(tokenizer, 512), 600)]
    list(encoder.encode_all(examples[:30]))
    tracemalloc.start()
    tokens = texts = 0
    for one in encoder.encode_all(examples[30:]):
        tokens += len(one.prompt) + len(one.response)
        texts += len(one.text)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 3 * tokens + texts + 450 * len(examples)
