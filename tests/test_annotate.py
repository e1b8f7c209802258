"""Key parts by gain, by a chat model, by the best of rules and gain; the file they are kept in; the job."""

import json
import random
import statistics

import pytest
import torch

from kpig.annotate import best, by_gain, by_llm, compare, job, keyparts, macro, rules
from kpig.annotate.by_gain import Effect, Effects, GainSettings
from kpig.annotate.cost import Cost
from kpig.config import ModelSection
from kpig.errors import DataError, UsageError
from kpig.files import publish_json
from kpig.llm import Answer, Failure, ScriptedModel, TextBackend
from kpig.model import loading
from kpig.model.ledger import Ledger
from kpig.records import Example, Instruction, KeySpan
from kpig.tasks import stream, suite

TOLERANCE = 1e-5
NUM_COMPOSITIONS = 20
F1_FLOOR, CORRELATION_FLOOR = 0.93, 0.86  # measured: 0.954 and 0.895
TEXT = "You are given a list. Sort the words, and say \"yes\" or 'no'.\nUse  at most two words."


@pytest.fixture(scope="module")
def tiny():
    return loading.load(ModelSection())


@pytest.fixture(scope="module")
def compositions():
    """Instructions of 20 compositions in mixed wordings, each with 8 examples."""
    pairs = [*suite.base_skills(), *suite.free_compositions()]
    random.Random(3).shuffle(pairs)
    found = []
    for number, pair in enumerate(pairs[:NUM_COMPOSITIONS]):
        wording = number % 5
        examples = suite.task(pair, 8, 1, 0).train
        found.append((suite.instruction(pair, wording, wording, wording), examples))
    return found


def agreement(pairs):
    """Mean F1 and Matthews correlation of found spans with the exact key parts of instructions."""
    return macro([compare(one.text, spans, one.key_parts) for one, spans in pairs])


# --- gain --------------------------------------------------------------------------------------------


def test_gain_finds_the_operation_and_the_demand_of_the_suites_tasks(tiny, compositions):
    found = [
        (one, by_gain.find(tiny, one.text, examples, by_gain.candidates(one.text))[0])
        for one, examples in compositions
    ]
    f1, correlation = agreement(found)
    assert f1 >= F1_FLOOR
    assert correlation >= CORRELATION_FLOOR


def test_best_leaves_the_rules_alone_where_they_are_right(tiny, compositions):
    found = [(one, best.find(tiny, one.text, examples)[0]) for one, examples in compositions]
    ruled = [(one, rules.find(one.text)) for one, _ in compositions]
    assert agreement(found)[1] >= agreement(ruled)[1] - 0.03


def test_best_adds_most_of_what_the_rules_forgot(tiny, compositions):
    damaged = [(one, examples, rules.find(one.text)[1:]) for one, examples in compositions]
    found = [(one, best.find(tiny, one.text, examples, spans)[0]) for one, examples, spans in damaged]
    before = agreement([(one, spans) for one, _, spans in damaged])
    after = agreement(found)
    assert before[1] < 0.6
    assert after[1] > 0.8


def test_best_drops_a_span_that_clearly_costs_nothing(tiny):
    one, examples = (
        suite.instruction(("sort", "commas"), 1, 1, 1),
        suite.task(("sort", "commas"), 8, 1, 0).train,
    )
    opener = KeySpan(0, one.text.index("."), "content")
    assert one.text[: opener.end] == "Below is a row of words"
    assert best.find(tiny, one.text, examples, (opener, *one.key_parts))[0] == one.key_parts


def test_best_keeps_idle_spans_that_cost_something_together(monkeypatch, make_example):
    first, second, third = KeySpan(0, 1), KeySpan(2, 3), KeySpan(4, 5)
    costs_of(monkeypatch, lambda hidden: 5.0 * ({first, second} <= hidden) + 9.0 * (third in hidden))
    settings = best.BestSettings(gain=GainSettings(num_strongest=0))
    spans, _ = best.find(FakeLearner(), "a b c", [make_example()] * 3, (first, second, third), settings)
    assert spans == (first, second, third)
    costs_of(monkeypatch, lambda hidden: 9.0 * (third in hidden))
    spans, _ = best.find(FakeLearner(), "a b c", [make_example()] * 3, (first, second, third), settings)
    assert spans == (third,)


def test_best_leaves_the_rules_as_they_are_where_the_model_does_not_listen(monkeypatch, make_example):
    ruled = (KeySpan(0, 1), KeySpan(2, 3))
    everything = {*ruled, KeySpan(4, 5)}
    costs_of(monkeypatch, lambda hidden: [20.0, 0.0] if hidden == everything else 0.0)
    monkeypatch.setattr(by_gain, "candidates", lambda text: tuple(everything))
    assert best.find(FakeLearner(), "a b c", [make_example()] * 2, ruled)[0] == ruled


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("max_length", [256, 48])
def test_the_effects_equal_a_loop_of_full_forward_passes(
    architecture, max_length, make_learner, make_example
):
    learner = make_learner(architecture, max_length=max_length)
    text = "Below is a row of words. Sort the words. Use commas."
    spans = (KeySpan(0, 23), KeySpan(25, 39), KeySpan(41, 51))
    inputs = ["ant box river " * 20, "egg", ""]
    examples = [
        make_example("Say it.", input, "ant, box" + " egg" * number) for number, input in enumerate(inputs)
    ]
    effects, _ = by_gain.measure(learner, text, examples, spans, GainSettings(num_strongest=3, share=9))
    cuts = [learner.encoder.encode(with_text(example, text)).num_cut for example in examples]
    assert (cuts[0] > 0) == (max_length == 48)

    def loss(less, more):
        values = []
        for example, cut in zip(examples, cuts, strict=True):
            short = example.input[: len(example.input) - cut]
            without = [Instruction(text, hidden).masked("") for hidden in (less, more)]
            before, after = (log_likelihood(learner, with_text(example, one, short)) for one in without)
            values.append(before - after)
        return statistics.fmean(values), statistics.stdev(values) / 3**0.5

    first, second, third = spans
    assert astuple(effects.total) == pytest.approx(loss((), spans), abs=TOLERANCE)
    for span in spans:
        assert astuple(effects.alone[span]) == pytest.approx(loss((), (span,)), abs=TOLERANCE)
    partners = [loss((second,), (first, second)), loss((third,), (first, third))]
    assert astuple(effects.beside[first]) == pytest.approx(max(partners), abs=TOLERANCE)
    assert abs(effects.total.mean) > 100 * TOLERANCE


def test_no_row_is_computed_twice(make_learner, make_example):
    learner = make_learner()
    example = make_example("Say it.", "egg fox", "egg")
    text, spans = "Sort it. Use commas.", (KeySpan(0, 7), KeySpan(9, 19))
    settings = GainSettings(share=9)
    effects, cost = by_gain.measure(learner, text, [example, example], spans, settings)
    texts = [Instruction(text, hidden).masked("") for hidden in ((), spans, spans[:1], spans[1:])]
    encoded = [learner.encoder.encode(with_text(example, one)) for one in texts]
    assert cost.forward_tokens == sum(len(one.prompt) + len(one.response) for one in encoded)
    assert cost.seconds > 0
    assert effects.beside.keys() == set(spans)


def test_measuring_restores_the_mode_and_leaves_no_gradient(make_learner, make_example):
    learner = make_learner("gpt2", dropout=0.5)
    learner.model.train()
    example, spans = make_example(), (KeySpan(0, 7), KeySpan(9, 19))
    first, second = (
        by_gain.measure(learner, "Sort it. Use commas.", [example], spans, GainSettings())[0]
        for _ in range(2)
    )
    assert first == second, "dropout must be off"
    assert learner.model.training
    assert all(weight.grad is None for weight in learner.parameters().values())


def test_two_clauses_that_say_the_same_are_found_by_hiding_both(monkeypatch, make_example):
    same, again, idle = KeySpan(0, 1), KeySpan(2, 3), KeySpan(4, 5)
    costs_of(monkeypatch, lambda hidden: 4.0 if {same, again} <= hidden else 0.0)
    spans = (same, again, idle)
    find = by_gain.find
    assert find(FakeLearner(), "a b c", [make_example()] * 2, spans)[0] == (same, again)
    alone = GainSettings(num_strongest=0)
    assert find(FakeLearner(), "a b c", [make_example()] * 2, spans, alone)[0] == ()


def test_a_clause_is_kept_only_where_its_effect_is_large_and_clear():
    total, spans = Effect(10.0, 0.5), [KeySpan(number, number + 1) for number in range(5)]
    alone = [Effect(1.0, 0.5), Effect(0.9, 0.1), Effect(3.0, 2.0), Effect(-5.0, 0.1), Effect(0.1, 0.01)]
    beside = {spans[4]: Effect(2.0, 0.1), spans[1]: Effect(1.9, 0.1)}
    effects = Effects(total, dict(zip(spans, alone, strict=True)), beside, {})
    assert by_gain.kept(effects, GainSettings()) == (spans[0], spans[4])
    unclear = Effects(Effect(10.0, 6.0), effects.alone, beside, {})
    assert by_gain.kept(unclear, GainSettings()) == ()


def test_gain_without_examples_is_refused_and_without_candidates_finds_nothing(make_learner, make_example):
    with pytest.raises(DataError, match="needs examples"):
        by_gain.find(make_learner(), "Sort it.", [], [KeySpan(0, 7)])
    assert by_gain.find(make_learner(), "Sort it.", [make_example()], [])[0] == ()


@pytest.mark.parametrize("wording", range(5))
def test_the_candidates_of_a_suite_instruction_hold_its_key_parts_without_carriers(wording):
    one = suite.instruction(("reverse", "json"), wording, wording, wording)
    found = by_gain.candidates(one.text)
    assert {(span.start, span.end) for span in one.key_parts} <= {(span.start, span.end) for span in found}
    assert len(found) == 3
    assert found[1].kind == "operation"


# --- a chat model ------------------------------------------------------------------------------------


def test_spans_are_located_exactly_in_order_and_with_their_kinds():
    found, _ = ask(answer(("Sort the words", "operation"), ("yes", "label_set"), ("two words", "length")))
    assert shown(found) == [("Sort the words", "operation"), ("yes", "label_set"), ("two words", "length")]
    assert not found.rejections
    assert not found.retried


def test_white_space_and_quotes_are_repaired():
    found, _ = ask(answer(("say “yes”\nor `no`", "label-set"), ("  Use at most\ttwo words ", "Length")))
    assert shown(found) == [("say \"yes\" or 'no'", "label_set"), ("Use  at most two words", "length")]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"text": "sort the words", "kind": "operation"}, "not in the instruction"),
        ({"text": "Sort all words", "kind": "operation"}, "not in the instruction"),
        ({"text": "ort the words", "kind": "operation"}, "not in the instruction"),
        ({"text": "Sort <b>the</b> words", "kind": "operation"}, "not in the instruction"),
        ({"text": "Sort the words", "kind": "verb"}, "unknown kind"),
        ({"text": "Sort the words", "kind": None}, "unknown kind"),
        ({"text": "Sort the words"}, "unknown kind"),
        ({"text": " ", "kind": "operation"}, "not a key part"),
        ({"text": 3, "kind": "operation"}, "not a key part"),
        ("Sort the words", "not a key part"),
        ({"text": "given a list", "kind": "content"}, "overlaps another part"),
        ({"text": "\ud800", "kind": "operation"}, "not in the instruction"),
    ],
)
def test_anything_else_is_rejected_with_its_reason_and_the_rest_is_kept(part, reason):
    good = {"text": "a list", "kind": "reference"}
    found, _ = ask(json.dumps({"key_parts": [good, part]}), json.dumps({"key_parts": [good, part]}))
    assert shown(found) == [("a list", "reference")]
    assert [one.reason for one in found.rejections] == [reason]


@pytest.mark.parametrize(
    "wrap",
    ["```json\n{}\n```", "Here you are:\n```\n{}\n```\nAnything else?", "Sure! {} I hope it helps.", " {} "],
)
def test_json_is_found_inside_markup_and_talk(wrap):
    found, _ = ask(wrap.replace("{}", answer(("Sort the words", "operation"))))
    assert shown(found) == [("Sort the words", "operation")]
    assert not found.rejections


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        '{"key_parts": [',
        '{"parts": []}',
        "null",
        "[" * 100_000,
        '{"key_parts": "all"}',
    ],
)
def test_an_answer_that_is_no_such_json_gives_no_spans(text):
    found, _ = ask(text, text)
    assert found.spans is None
    assert [one.reason for one in found.rejections] == ["not JSON"]


def test_an_answer_that_was_cut_off_says_so():
    found, model = ask(Answer('{"key_parts": [{"te', truncated=True), answer(("two words", "length")))
    assert "cut off" in model.received[1].prompt
    assert shown(found) == [("two words", "length")]


def test_an_answer_without_key_parts_is_asked_again_and_then_believed():
    found, model = ask('{"key_parts": []}', '{"key_parts": []}')
    assert (found.spans, [one.reason for one in found.rejections]) == ((), ["no key parts"])
    assert len(model.received) == 2


def test_the_retry_shows_the_model_its_answer_and_its_mistake():
    wrong = answer(("Sort everything", "operation"))
    found, model = ask(wrong, answer(("Sort the words", "operation")))
    first, second = (one.prompt for one in model.received)
    assert TEXT in first and wrong not in first and "mistake" not in first.split("====")[-1]
    assert wrong in second and "'Sort everything': not in the instruction" in second
    assert (shown(found), found.rejections, found.retried) == ([("Sort the words", "operation")], (), True)


def test_the_first_answer_counts_where_the_retry_is_worse():
    first = answer(("Sort the words", "operation"), ("Sort everything", "operation"))
    for second in (
        "nonsense",
        Failure("timeout"),
        answer(("x y", "operation"), ("z", "format"), ("q", "length")),
    ):
        found, _ = ask(first, second)
        assert shown(found) == [("Sort the words", "operation")]
        assert [one.reason for one in found.rejections] == ["not in the instruction"]


def test_only_faulty_answers_are_asked_again_and_a_failure_is_not():
    good, bad = answer(("Sort it", "operation")), answer(("Sort that", "operation"))
    model = ScriptedModel([good, bad, Failure("timeout"), good])
    texts = {"first": "Sort it.", "second": "You must Sort it.", "third": "Please Sort it."}
    found = by_llm.find_all(TextBackend(model), texts)
    assert len(model.received) == 4
    assert [one.spans for one in found.values()] == [
        (KeySpan(0, 7, "operation"),),
        (KeySpan(9, 16, "operation"),),
        None,
    ]
    assert found["third"].rejections[0].message == "no answer: timeout"


def test_the_schema_stays_to_the_letter_as_answers_are_kept_under_it():
    kinds = ["operation", "label_set", "format", "length", "content", "reference"]
    part = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "kind": {"enum": kinds}},
        "required": ["text", "kind"],
        "additionalProperties": False,
    }
    assert by_llm.request("Sort.").json_schema == {
        "type": "object",
        "properties": {"key_parts": {"type": "array", "items": part}},
        "required": ["key_parts"],
        "additionalProperties": False,
    }


def test_words_are_whole_and_repeated_texts_take_the_next_place():
    assert by_llm.locate("telephone one", "one") == KeySpan(10, 13)
    assert by_llm.locate("ones, one", "one") == KeySpan(6, 9)
    assert by_llm.locate("a, b, a", "a", [KeySpan(0, 1), KeySpan(3, 4)]) == KeySpan(6, 7)
    assert by_llm.locate("a, b", "a", [KeySpan(3, 4)]) == KeySpan(0, 1)
    assert by_llm.locate("请把句子翻译成英文。", "翻译成英文") == KeySpan(4, 9)


def test_the_prompt_holds_the_instruction_as_it_is():
    hostile = "Say <b>&amp;</b> {{ 7 * 7 }} {% raw %} \\d"
    assert hostile in by_llm.request(hostile).prompt
    assert by_llm.request("x" * 5000).max_tokens == 5000


# --- keyparts.json -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder of two tasks without key parts."""
    for name, text in (("sort", "You get words. Sort the “words”."), ("count", "Count the words.")):
        raw = {"Definition": text, "Instances": [{"id": "1", "input": "b a", "output": "a b"}]}
        (tmp_path / "tasks").mkdir(exist_ok=True)
        (tmp_path / "tasks" / f"{name}.json").write_text(json.dumps(raw), encoding="utf-8")
    return tmp_path


def annotated(folder):
    """Name to seed instruction with the key parts that the rules find."""
    found = job.annotate(stream.load_tasks(folder), "rules").spans
    texts = {task.name: task.instruction.text for task in stream.load_tasks(folder)}
    return {name: Instruction(texts[name], spans) for name, spans in found.items()}


def test_what_is_written_beside_the_tasks_is_read_back_with_them(folder):
    instructions = annotated(folder)
    written = keyparts.write(folder / "keyparts.json", instructions, "rules")
    assert written == keyparts.Written(("count", "sort"), ())
    read = {task.name: task.instruction for task in stream.load_tasks(folder)}
    assert read == instructions
    assert all(one.key_parts for one in read.values())


def test_the_file_has_the_format_of_the_shared_annotation(folder, shared_data):
    shared = next(iter(json.loads((shared_data / "superni-stream" / "keyparts.json").read_text()).values()))
    keyparts.write(folder / "keyparts.json", annotated(folder), "rules")
    ours = json.loads((folder / "keyparts.json").read_text(encoding="utf-8"))["sort"]
    assert list(ours) == [*shared, "made_by", "check"]
    assert list(ours["key_parts"][0]) == list(shared["key_parts"][0])


def test_entries_made_or_corrected_by_hand_are_kept_unless_asked_otherwise(folder):
    path, instructions = folder / "keyparts.json", annotated(folder)
    keyparts.write(path, instructions, "rules")
    assert keyparts.by_hand(path) == frozenset()
    entries = json.loads(path.read_text(encoding="utf-8"))
    entries["sort"]["key_parts"][0]["kind"] = "content"
    entries["other"] = {"key_parts": ["stays"]}
    publish_json(path, entries)
    assert keyparts.by_hand(path) == {"sort", "other"}

    nothing = {name: Instruction(one.text) for name, one in instructions.items()}
    assert keyparts.write(path, nothing, "gain") == keyparts.Written(("count",), ("sort",))
    after = json.loads(path.read_text(encoding="utf-8"))
    assert (after["sort"], after["other"]) == (entries["sort"], entries["other"])
    assert (after["count"]["key_parts"], after["count"]["made_by"]) == ([], "gain")

    assert keyparts.write(path, nothing, "gain", overwrite=True).kept == ()
    after = json.loads(path.read_text(encoding="utf-8"))
    assert after["sort"]["key_parts"] == [] and after["other"] == entries["other"]


def test_the_shared_annotation_counts_as_made_by_hand(shared_data):
    path = shared_data / "superni-heldout" / "keyparts.json"
    assert keyparts.by_hand(path) == json.loads(path.read_text(encoding="utf-8")).keys()


def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "keyparts.json"
    path.write_text('{"sort": ', encoding="utf-8")
    with pytest.raises(DataError, match="not valid JSON"):
        keyparts.write(path, {"sort": Instruction("Sort.")}, "rules")
    assert path.read_text(encoding="utf-8") == '{"sort": '


# --- the job -----------------------------------------------------------------------------------------


def test_the_job_annotates_by_every_way_and_counts_cost_and_rejections(tiny):
    tasks = [suite.task(("reverse", "json"), 4, 1, 0), suite.task(("sort", "commas"), 0, 4, 0)]
    for by in ("gain", "best"):
        found = job.annotate(tasks, by, learner=tiny, num_examples=4)
        assert found.spans == {task.name: task.instruction.key_parts for task in tasks}
        assert found.cost.forward_tokens > 0
    assert job.annotate(tasks, "best").spans == job.annotate(tasks, "rules").spans
    assert job.annotate(tasks, "best").cost == Cost()

    good = answer(("reverse the order of the words", "operation"))
    backend = TextBackend(ScriptedModel([good, "sorry", "sorry again"]))
    found = job.annotate(tasks, "llm", backend=backend)
    assert list(found.spans) == ["reverse-json"]
    assert found.num_rejected == {"not JSON": 1}
    assert found.cost.requests == 3 and found.cost.llm_tokens > 100


def test_a_task_on_which_the_model_does_not_listen_gets_no_entry(monkeypatch):
    costs_of(monkeypatch, lambda hidden: 0.0)
    found = job.annotate([suite.task(("sort", "commas"), 2, 1, 0)], "gain", learner=FakeLearner())
    assert (found.spans, found.num_rejected) == ({}, {"no effect": 1})


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("gian", "did you mean 'gain'"),
        ("x", "expected one of llm"),
        ("llm", "chat model"),
        ("gain", "need a model"),
    ],
)
def test_an_unknown_way_or_a_missing_helper_is_refused(by, message):
    with pytest.raises(UsageError, match=message):
        job.annotate([], by)


def test_costs_add_up():
    assert Cost(1, 2.0, 3, 4) + Cost(10, 20.0, 30, 40) == Cost(11, 22.0, 33, 44)


# --- helpers -----------------------------------------------------------------------------------------


class FakeLearner:
    """A learner whose passes are replaced by `costs_of`."""

    def __init__(self):
        self.ledger = Ledger()


def costs_of(monkeypatch, cost):
    """Replace the passes of gain: log p is minus cost(set of hidden spans), of each example or of all."""

    def log_likelihoods(learner, text, examples, hidings, hidden_text):
        costs = {hiding: cost(set(hiding)) for hiding in hidings}
        lists = {key: one if isinstance(one, list) else [one] * len(examples) for key, one in costs.items()}
        return {hiding: [-value for value in values] for hiding, values in lists.items()}

    monkeypatch.setattr(by_gain, "log_likelihoods", log_likelihoods)


def astuple(effect):
    return effect.mean, effect.error


def with_text(example, text, input=None):
    input = example.input if input is None else input
    return Example(example.id, example.task, Instruction(text), input, example.references)


def log_likelihood(learner, example):
    """Mean log p of the response from one full forward pass without padding."""
    encoded = learner.encoder.encode(example)
    with torch.no_grad():
        logits = learner.model(torch.tensor([[*encoded.prompt, *encoded.response]])).logits[0].double()
    log_probs = logits.log_softmax(-1)[len(encoded.prompt) - 1 : -1]
    return float(log_probs[range(len(encoded.response)), encoded.response].mean())


def answer(*parts):
    return json.dumps({"key_parts": [{"text": text, "kind": kind} for text, kind in parts]})


def ask(*lines):
    """What is found in TEXT when the chat model answers with these lines, and the model."""
    model = ScriptedModel(list(lines))
    return by_llm.find_all(TextBackend(model), {"task": TEXT})["task"], model


def shown(found):
    return [(TEXT[span.start : span.end], span.kind) for span in found.spans]
