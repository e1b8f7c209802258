"""SSR and RaDis: who writes, what is kept of it, and that a resumed run has the same texts."""

import copy
import dataclasses
import itertools
import math
import random
import sys

import pytest
import torch

from kpig import config
from kpig.errors import ConfigError, KpigError
from kpig.llm import AnswerCache, LlmError, ScriptedModel, TextBackend
from kpig.llm.exchange import Answer, BudgetError, Failure
from kpig.methods import ssr
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.methods.parts import writer
from kpig.methods.parts.writer import Draft
from kpig.methods.radis import whole
from kpig.model import loading
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.records import Message
from kpig.tasks import suite
from kpig.testing.models import scatter
from kpig.training import loop
from misbehaving_server import MisbehavingServer, says

TASKS = tuple(suite.task(pair, 9, 2, seed=0) for pair in (("reverse", "upper"), ("count", "period")))
SETTINGS = {"ssr": {"num_prompts": 8, "num_demonstrations": 4, "max_new_tokens": 12}, "radis": {}}


def configured(name, seed=0, **settings):
    table = {"name": name, name: SETTINGS[name] | settings}
    return config.build({"seed": seed, "replay": {"memory_per_task": 3, "ratio": 0.5}, "method": table})


def step_of(*tasks):
    return Step(1, tasks, 4)


@pytest.fixture
def scripted(monkeypatch):
    """scripted(write): learners generate write(number of the prompt so far); returns the prompts seen."""

    def make(write):
        seen = []

        def generate(self, prompts, max_new_tokens, *_):
            seen.extend(tuple(prompt) for prompt in prompts)
            return [write(len(seen) - len(prompts) + n) for n in range(len(prompts))]

        monkeypatch.setattr(Learner, "generate", generate)
        return seen

    return make


@pytest.fixture
def fingerprints(monkeypatch):
    """Learners generate one number that tells which weights they have just now; how to compute it."""

    def fingerprint(learner, prompt):
        with torch.no_grad(), learner.evaluating():
            return f"{float(learner.model(torch.tensor([list(prompt)])).logits[0, -1].double().sum()):.3f}."

    def generate(self, prompts, max_new_tokens, *_):
        return [(f"because {fingerprint(self, prompt)}", True) for prompt in prompts]

    monkeypatch.setattr(Learner, "generate", generate)
    return fingerprint


@pytest.fixture(params=[False, True], ids=["full", "lora"])
def tuned(request, make_learner):
    """A learner that has moved away from its start, and one that is still there."""
    learner = make_learner("gpt2", request.param, keep_initial=True)
    scatter(learner.model, 1, 0.1)
    return learner, make_learner("gpt2")


def with_backend(method, script, folder):
    """The method with a scripted backend as its writer; the script's source."""
    source = ScriptedModel(script)
    method.writer.is_learner = False
    method.writer._backend = TextBackend(source, folder)
    return source


# SSR: prompts


@pytest.mark.parametrize(("num_shown", "shots", "count"), [(4, 2, 99), (5, 2, 7), (3, 5, 99), (2, 1, 1)])
def test_every_prompt_shows_other_examples_or_another_order(num_shown, shots, count):
    shown = TASKS[0].train[:num_shown]
    drawn = ssr.arrangements(shown, shots, count, random.Random(0))
    assert len(drawn) == len(set(drawn)) == min(count, math.perm(num_shown, min(shots, num_shown)))
    assert set(drawn) <= set(itertools.permutations(shown, min(shots, num_shown)))
    assert drawn == ssr.arrangements(shown, shots, count, random.Random(0))


def test_a_prompt_reads_as_the_task_does_with_one_more_input_to_come():
    first, second, *_ = TASKS[0].train
    text = ssr.continuation(TASKS[0], (first, second))
    assert text == (
        f"{first.instruction.text}\n\nInput: {first.input}\nOutput: {first.response}\n\n"
        f"Input: {second.input}\nOutput: {second.response}\n\nInput:"
    )
    asked = ssr.request(TASKS[0], (first, second))
    assert asked.startswith(ssr.REQUEST) and text.removesuffix("\n\nInput:") in asked


# SSR: what is kept


@pytest.mark.parametrize(
    ("text", "finished", "expected"),
    [
        ("ant box\nOutput: box ant", True, ["ant box"]),
        ("ant box\nOutput: box", False, ["ant box"]),
        ("ant box", True, ["ant box"]),
        ("ant box", False, [None]),
        ("ant\nOutput: a\n\nInput: box cup\nOutput: b\n\nInput: dog", False, ["ant", "box cup", None]),
        ("ant\nOutput: a\n\nInput: dog", True, ["ant", "dog"]),
        ("", True, [""]),
        ("two\nlines\nOutput: x", True, ["two\nlines"]),
    ],
)
def test_the_inputs_of_a_continuation(text, finished, expected):
    assert ssr.read_inputs(Draft(text, finished)) == expected


@pytest.mark.parametrize(
    ("text", "finished", "expected"),
    [("Input: ant box", True, ["ant box"]), ("ant\nOutput: a", False, ["ant"]), ("ant", False, [None])],
)
def test_the_input_in_the_answer_of_a_chat_model(text, finished, expected):
    assert ssr.read_inputs(Draft(text, finished), alone=True) == expected
    assert ssr.read_inputs(None, alone=True) == [None]


def test_only_whole_new_inputs_are_accepted_and_the_others_counted():
    found = [
        None,
        "",
        "Ant  box",
        "cup dog egg fox",
        "cup dog egg",
        "CUP dog egg fox",
        "猫 と 犬",
        "猫 と 犬",
    ]
    accepted, refused = ssr.accept(found, ["ant box"], 0.7)
    assert accepted == ["cup dog egg fox", "猫 と 犬"]
    assert refused == {"unfinished": 1, "empty": 1, "copy": 1, "similar": 3}


def test_the_learner_answers_and_bad_answers_are_refused(make_learner, scripted):
    learner = make_learner("gpt2")
    answers = [("yes", True), ("cut", False), ("", True), ("no", True)]
    scripted(lambda number: answers[number])
    examples = [*TASKS[0].train[:4]]
    long = "word " * 400
    examples.insert(1, ssr.replace(examples[0], input=long))
    by_length = sorted(range(5), key=lambda place: -len(ssr._prompt(learner, examples[place], 4)))
    found, refused = ssr.answer(learner, examples, 4)
    assert refused == {"too_long": 1, "unfinished_response": 1, "empty_response": 1}
    assert by_length[-1] == 1 and {one.response for one in found} == {"yes", "no"}
    assert all(one.input in {other.input for other in TASKS[0].train} for one in found)


def write_inputs(number):
    """Different inputs, each with an output; as answers, whole texts."""
    return (" ".join(f"w{number}{letter}" for letter in "abcd") + "\nOutput: x", True)


def test_memory_holds_written_examples_only_under_the_tasks_instructions(make_learner, scripted):
    scripted(write_inputs)
    method, learner = create(configured("ssr")), make_learner("gpt2", keep_initial=True)
    before = learner.weights()
    method.remember(step_of(*TASKS), learner)
    real = {one.input for task in TASKS for one in task.train}
    for task in TASKS:
        kept = method.memory.tasks[task.name]
        assert len(kept.examples) == 3 and kept.instructions == task.instructions
        assert all(one.instruction == task.instruction and one.task == task.name for one in kept.examples)
        assert not {one.input for one in kept.examples} & real
        assert method.written[task.name] == {"kept": 3, "accepted": 8}
    drawn = method.replay(Clock(0, 2, 0, 4, 8), learner)
    assert len(drawn) == 4 and len({one.id + one.task for one in drawn}) == 4
    assert {one.instruction for one in drawn} <= {w for task in TASKS for w in task.instructions}
    assert all(torch.equal(before[name], value) for name, value in learner.weights().items())
    assert method.notes() == []


def test_written_examples_fit_under_the_longest_wording_that_replay_may_draw(make_learner, scripted):
    """Answers are as long as they come; what fits under the seed wording alone would stop a later step."""
    scripted(write_inputs)
    longer = dataclasses.replace(TASKS[0].instruction, text=TASKS[0].instruction.text + " Mind this." * 30)
    task = dataclasses.replace(TASKS[0], instructions=(TASKS[0].instruction, longer))
    sizes = [
        len(make_learner("gpt2").encoder.text_ids(wording.text)) for wording in (task.instruction, longer)
    ]
    learner = make_learner("gpt2", keep_initial=True, max_length=(sizes[0] + sizes[1]) // 2 + 20)
    method = create(configured("ssr"))
    method.remember(step_of(task), learner)
    assert method.memory.tasks[task.name].examples == ()
    assert method.written[task.name]["too_long"] == 8
    plain = create(configured("ssr"))
    plain.remember(step_of(dataclasses.replace(task, instructions=(task.instruction,))), learner)
    assert len(plain.memory.tasks[task.name].examples) == 3


def test_inputs_come_from_the_starting_model_and_answers_from_the_latest(tuned, fingerprints):
    learner, start = tuned
    method, before = create(configured("ssr", similarity=1.0)), learner.weights()
    method.remember(step_of(TASKS[0]), learner)
    assert all(torch.equal(before[name], value) for name, value in learner.weights().items())
    (kept,) = [task.examples for task in method.memory.tasks.values()]
    assert len(kept) == 3
    rng = method._rng("demonstrations", TASKS[0])
    shown = rng.sample(list(TASKS[0].train), 4)
    prompts = [
        learner.encoder.text_ids(ssr.continuation(TASKS[0], pair))
        for pair in itertools.permutations(shown, 2)
    ]
    by_start = {f"because {fingerprints(start, prompt)}" for prompt in prompts}
    by_latest = {f"because {fingerprints(learner, prompt)}" for prompt in prompts}
    assert not by_start & by_latest
    for one in kept:
        assert one.input in by_start
        assert one.response == f"because {fingerprints(learner, learner.encoder.encode(one).prompt)}"


def test_nothing_written_is_nothing_replayed_and_a_note_says_so(make_learner, scripted):
    scripted(lambda number: ("on and on", False))
    method, learner = create(configured("ssr")), make_learner("gpt2", keep_initial=True)
    method.remember(step_of(TASKS[0]), learner)
    assert list(method.replay(Clock(0, 2, 0, 4, 8), learner)) == []
    (note,) = method.notes()
    assert "0 of 3 examples could be written" in note and "8 unfinished" in note


def test_the_shipped_model_writes_real_texts_the_same_every_time():
    """No script: greedy decoding by the shipped model. Its answers are those to the usual prompt."""
    found = []
    for _ in range(2):
        learner = loading.load(config.ModelSection(), keep_initial=True)
        method = create(configured("ssr", max_new_tokens=24))
        method.remember(step_of(TASKS[0]), learner)
        found.append((method.state_dict(), learner.ledger.forward_tokens))
    assert found[0] == found[1] and found[0][1] > 0
    counts = method.written[TASKS[0].name]
    assert sum(counts.values()) - counts["kept"] >= 8, "every draft was accepted or refused"
    for one in method.memory.tasks[TASKS[0].name].examples:
        (answer,) = learner.generate([learner.encoder.encode(one, 24).prompt], 24)
        assert answer == (one.response, True)


# A backend as the writer


def test_a_backend_is_asked_once_and_a_resumed_run_has_the_same_examples(make_learner, scripted, tmp_path):
    scripted(lambda number: (f"answer {number}", True))
    numbers, states, requests = itertools.count(), [], []
    for _ in range(2):
        method, learner = create(configured("ssr")), make_learner("gpt2")
        source = with_backend(
            method, lambda request: f"Input: {write_inputs(next(numbers))[0]}", tmp_path / "answers"
        )
        method.remember(step_of(TASKS[0]), learner)
        states.append([one.input for one in method.memory.tasks[TASKS[0].name].examples])
        requests.append((len(source.received), learner.ledger.llm_requests))
    assert states[0] == states[1] and len(states[0]) == 3
    assert requests == [(8, 8), (0, 8)], "cached answers are counted, so that a resumed run counts the same"


def test_a_spent_budget_stops_the_run_and_a_failure_only_the_example(make_learner, scripted, tmp_path):
    scripted(lambda number: (f"answer {number}", True))
    method, learner = create(configured("ssr")), make_learner("gpt2")
    with_backend(method, lambda request: Failure("refused"), tmp_path / "a")
    method.remember(step_of(TASKS[0]), learner)
    assert method.written[TASKS[0].name] == {"kept": 0, "accepted": 0, "unfinished": 8}
    method.writer._backend = TextBackend(
        ScriptedModel(lambda request: "w"), tmp_path / "b", writer.Budget(max_requests=2)
    )
    with pytest.raises(BudgetError, match="run again to go on"):
        method.remember(step_of(TASKS[0]), learner)


def test_a_local_folder_can_write(model_folder, make_learner, tmp_path, monkeypatch):
    folder = model_folder("gpt2", "writing")
    method = create(configured("ssr", writer=str(folder), cache=str(tmp_path / "cache"), max_new_tokens=4))
    assert not method.needs_initial and not method.writer.is_learner
    learner = make_learner("gpt2")
    method.remember(step_of(TASKS[0]), learner)
    assert learner.ledger.llm_requests == 8
    assert len(AnswerCache(tmp_path / "cache")) == 8


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"writer": "some-model"}, ConfigError, "base_url"),
        ({"writer": "some-model", "base_url": "http://127.0.0.1:9/v1"}, LlmError, "OPENAI_API_KEY"),
        ({"writer": "/tmp", "base_url": "http://127.0.0.1:9/v1"}, LlmError, "OPENAI_API_KEY"),
        ({"base_url": "http://127.0.0.1:9/v1"}, ConfigError, "base_url: no effect"),
        ({"max_requests": 3}, ConfigError, "max_requests: no effect"),
    ],
)
@pytest.mark.parametrize("name", ["ssr", "radis"])
def test_settings_of_the_writer_that_cannot_be_are_refused_before_training(
    name, settings, error, words, monkeypatch
):
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(error, match=words):
        create(configured(name, **settings))


def test_without_scikit_learn_ssr_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ConfigError, match="pip install scikit-learn"):
        create(configured("ssr"))


def test_a_chat_model_is_asked_in_words(make_learner, scripted, tokenizer):
    chat = copy.deepcopy(tokenizer)
    chat.chat_template = "{% for message in messages %}<u>{{ message.content }}<a>{% endfor %}"
    learner = Learner(make_learner("gpt2").model, chat, Encoder(chat, 256), keep_initial=True)
    seen = scripted(lambda number: (f"w{number}", True))
    method = create(configured("ssr"))
    method.remember(step_of(TASKS[0]), learner)
    text = chat.decode(seen[0])
    assert text.startswith(f"<u>{ssr.REQUEST}") and text.endswith("<a>")


# The starting model


def test_the_starting_model_stands_in_only_inside_the_block(tuned):
    learner, start = tuned
    ids = torch.tensor([[5, 9, 40]])

    def logits(one):
        with torch.no_grad():
            return one.model(ids).logits

    before, flags = learner.weights(), {n: w.requires_grad for n, w in learner.model.named_parameters()}
    now = logits(learner)
    with pytest.raises(KeyError), learner.as_initial():
        torch.testing.assert_close(logits(learner), logits(start), rtol=0, atol=0)
        raise KeyError
    assert torch.equal(logits(learner), now) and not torch.equal(now, logits(start))
    assert all(torch.equal(before[name], value) for name, value in learner.weights().items())
    assert flags == {name: weight.requires_grad for name, weight in learner.model.named_parameters()}


def test_a_learner_without_its_starting_weights_cannot_stand_in(make_learner):
    with pytest.raises(KpigError, match="keep_initial"), make_learner("gpt2").as_initial():
        pass


# RaDis


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        (Draft(" The words are turned round. ", True), "The words are turned round."),
        (Draft("First this. Then 3.5 of", False), "First this."),
        (Draft("First this. Then that!\nAnd", False), "First this. Then that!"),
        (Draft("1. It is a drink.\n2. It is cold.\n3. The", False), "1. It is a drink.\n2. It is cold."),
        (Draft("Because:\n\n 12. It", False), "Because:"),
        (Draft("1. It is a drink without", False), ""),
        (Draft("The rating is\n4. So it is 4. And", False), "The rating is\n4. So it is 4."),
        (Draft("no end in sight", False), ""),
        (Draft("", True), ""),
        (None, ""),
    ],
)
def test_a_rationale_ends_with_a_sentence_or_by_itself(draft, expected):
    assert whole(draft) == expected


def test_every_example_stays_and_gets_an_explained_one_beside_it(tuned, fingerprints):
    learner, start = tuned
    method, before = create(configured("radis")), learner.weights()
    step = method.begin_step(step_of(*TASKS), learner)
    assert all(torch.equal(before[name], value) for name, value in learner.weights().items())
    assert (step.number, step.num_updates, len(step.tasks)) == (1, 4, 4)
    assert step.tasks[::2] == TASKS
    for task, explained in zip(TASKS, step.tasks[1::2], strict=True):
        assert explained.name == task.name and explained.test == ()
        for own, wording in zip(task.instructions, explained.instructions, strict=True):
            assert wording.text == f"{own.text} Then explain your answer."
            assert wording.key_parts == own.key_parts and wording.masked().startswith(own.masked())
        for example, made in zip(task.train, explained.train, strict=True):
            encoded = learner.encoder.encode(example)
            cued = (*encoded.prompt, *learner.encoder.response_ids(f"{example.response}\nExplanation:")[:-1])
            rationale = f"because {fingerprints(start, cued)}"
            assert made.response == f"{example.response}\nExplanation: {rationale}"
            assert made.instruction == explained.instruction and made.input == example.input
    assert method.begin_step(step_of(*TASKS), learner) == step, "a resumed run has the same step"
    assert method.notes() == []


def test_half_of_what_a_step_trains_on_is_explained_and_plain_examples_are_unchanged(make_learner, scripted):
    scripted(lambda number: ("so it is.", True))
    method, learner = create(configured("radis")), make_learner("gpt2", keep_initial=True)
    step = method.begin_step(step_of(*TASKS), learner)
    drawn = [one for n in range(9) for one in loop.current_examples(step, Clock(0, 1, n, 9, 4))]
    assert len({one.id for one in drawn}) == 36, "one pass over 18 examples, plain and explained"
    for one in drawn:
        is_explained = one.instruction.text.endswith("Then explain your answer.")
        assert is_explained == one.id.endswith("/explained") == one.response.endswith("so it is.")


def test_unusable_rationales_leave_the_example_alone_and_are_counted(make_learner, scripted):
    words = itertools.cycle([("", True), ("never ends", False), ("fine.", True), ("long " * 300 + ".", True)])
    scripted(lambda number: next(words))
    method, learner = create(configured("radis", num_examples=4)), make_learner("gpt2", keep_initial=True)
    step = method.begin_step(step_of(TASKS[0]), learner)
    assert step.tasks[0] == TASKS[0] and len(step.tasks[1].train) == 1
    assert method.written[TASKS[0].name] == {
        "asked": 4,
        "kept": 1,
        "empty_or_unfinished": 2,
        "too_long": 1,
    }
    (note,) = method.notes()
    assert "1 of 4 rationales" in note
    scripted(lambda number: ("never ends", False))
    assert method.begin_step(step_of(*TASKS), learner) == step_of(*TASKS)


def test_examples_that_leave_no_room_for_a_rationale_are_learned_plainly(tokenizer, make_learner):
    whole_model = make_learner("gpt2").model
    learner = Learner(whole_model, tokenizer, Encoder(tokenizer, 64), keep_initial=True)
    method = create(configured("radis", max_new_tokens=60))
    assert method.begin_step(step_of(TASKS[0]), learner) == step_of(TASKS[0])
    assert method.written[TASKS[0].name]["unanswered"] == 9


def test_a_server_can_explain_also_where_its_models_name_is_a_folder_here(make_learner, tmp_path):
    """What is cut off at the token limit is kept up to its last sentence, and each example is asked once."""
    behave = says("It turns the words round. And then", finish="length")
    with MisbehavingServer(then=behave) as server:
        settings = {"writer": str(tmp_path), "base_url": server.url, "key_variable": ""}
        method = create(configured("radis", cache=str(tmp_path / "cache"), max_new_tokens=7, **settings))
        step, again = (method.begin_step(step_of(TASKS[0]), make_learner("gpt2")) for _ in range(2))
    assert step == again and len(server.received) == 9
    assert {one.response.partition("\nExplanation: ")[2] for one in step.tasks[1].train} == {
        "It turns the words round."
    }
    assert all(one.body["max_tokens"] == 7 and one.body["model"] == str(tmp_path) for one in server.received)


def test_a_backend_can_explain(make_learner, tmp_path):
    method, learner = create(configured("radis")), make_learner("gpt2")
    source = with_backend(method, lambda request: Answer("It is right. Since"), tmp_path)
    step = method.begin_step(step_of(TASKS[0]), learner)
    assert [one.response for one in step.tasks[1].train] == [
        f"{one.response}\nExplanation: It is right. Since" for one in TASKS[0].train
    ]
    assert learner.ledger.llm_requests == len(source.received) == 9
    assert TASKS[0].train[0].response in source.received[0].prompt


# What comes before the input

SYSTEM, TURNS = Message("system", "Be brief."), (Message("user", "Hi."), Message("assistant", "Yes?"))


def before(task, context=(), as_system=False, count=None):
    """The task with turns before the inputs of its first training examples, or of all."""
    changed = [dataclasses.replace(one, context=context, as_system=as_system) for one in task.train[:count]]
    return dataclasses.replace(task, train=(*changed, *task.train[len(changed) :]))


def test_who_explains_is_shown_the_conversation_role_by_role(make_learner, tmp_path):
    said = TASKS[0].train[0]
    asked = f"Task: {said.instruction.text}\n"
    rest = f"Input: {said.input}\nResponse: {said.response}"
    turns = "User: Hi.\nAssistant: Yes?\n"
    for number, (context, as_system, system, expected) in enumerate(
        [
            ((), False, "", f"{asked}{rest}"),
            ((SYSTEM, *TURNS), False, "Shout.", f"System: Be brief.\n{turns}{asked}{rest}"),
            (TURNS, True, "Shout.", f"{asked}{turns}{rest}"),
            (TURNS, False, "Shout.", f"System: Shout.\n{turns}{asked}{rest}"),
        ]
    ):
        method, learner = create(configured("radis")), make_learner("gpt2")
        learner.encoder.system = system
        source = with_backend(method, lambda request: Answer("It is right."), tmp_path / str(number))
        method.begin_step(step_of(before(TASKS[0], context, as_system)), learner)
        assert source.received[0].prompt.partition("\n\n")[2] == expected


def test_ssr_shows_the_turns_that_all_examples_share_and_writes_examples_behind_them(
    make_learner, scripted, tmp_path
):
    scripted(lambda number: (f"answer {number}", True))
    numbers = itertools.count()
    method, learner = create(configured("ssr")), make_learner("gpt2")
    source = with_backend(method, lambda request: write_inputs(next(numbers))[0], tmp_path)
    task = before(TASKS[0], TURNS, True)
    assert method.arrange([(task,)]) == [(task,)]
    method.remember(step_of(task), learner)
    assert all("\n\nUser: Hi.\nAssistant: Yes?\n\nTask: " in one.prompt for one in source.received)
    kept = method.memory.tasks[task.name].examples
    assert kept and all((one.context, one.as_system) == (TURNS, True) for one in kept)


def test_ssr_refuses_conversations_that_differ():
    with pytest.raises(ConfigError, match="ssr writes inputs, not conversations, but in 1 tasks"):
        create(configured("ssr")).arrange([(before(TASKS[0], TURNS, count=3), TASKS[1])])


@pytest.mark.parametrize("name", ["ssr", "radis"])
def test_why_a_server_wrote_nothing_is_told(name, make_learner, scripted, tmp_path):
    scripted(lambda number: (f"answer {number}", True))
    method, learner = create(configured(name)), make_learner("gpt2")
    with_backend(method, lambda request: Failure("server_error", "HTTP 500:\n  " + "no " * 400), tmp_path)
    learn = method.remember if name == "ssr" else method.begin_step
    learn(step_of(TASKS[0]), learner)
    (note,) = method.notes()
    assert "the writer learner last failed so: server_error: HTTP 500: no no" in note
    assert "8 unfinished" in note or "9 unanswered" in note
    assert len(note) < 600 and "\n" not in note
    again = create(configured(name))
    again.load_state_dict(method.state_dict())
    assert again.notes() == [note]
    state = method.state_dict()
    del state["trouble"]
    again.load_state_dict(state)
    assert "last failed" not in again.notes()[0]
