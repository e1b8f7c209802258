"""System prompts, earlier turns and chat template arguments: what of them reaches the model."""

import dataclasses
import json
from html import escape
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from kpig.cli.app import model_of, prompted, read_tasks
from kpig.config import EvaluateSection, ModelSection, RunConfig, dump
from kpig.config.tree import build, load
from kpig.errors import ConfigError, ModelError
from kpig.methods.parts.memory import Memory
from kpig.model import loading, vocabulary
from kpig.model.encoding import Encoder, plain_prompt
from kpig.pretrain import mixture
from kpig.progress import Watcher
from kpig.records import SEEN, Example, Instruction, KeySpan, Message, Task
from kpig.runs import job
from kpig.runs.check import check
from kpig.runs.diagnose import evaluate_model
from kpig.runs.prompts import prompts_of
from kpig.tasks import digests, stream
from kpig.tasks.show import html

from kpig.testing.models import tokenizer  # isort: skip

SAID = "{{ m.role }}: {{ m.content }}\n"
OPEN = "{% for m in messages %}" + SAID + "{% endfor %}assistant:"
REFUSING = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + OPEN
)
DROPPING = "{% for m in messages %}{% if m.role != 'system' %}" + SAID + "{% endif %}{% endfor %}assistant:"
THINKING = OPEN + "{% if enable_thinking is defined and not enable_thinking %} <think></think>{% endif %}"

CONTEXT = (Message("system", "Be brief."), Message("user", "Capital of Peru?"), Message("assistant", "Lima"))
PARTED = Instruction("Name the capital.", (KeySpan(0, 4),))


def example(**changes) -> Example:
    made = Example("1", "t", PARTED, "Norway", ("Oslo",), CONTEXT)
    return dataclasses.replace(made, **changes)


def encoder(template: object = None, **settings) -> Encoder:
    """An encoder of the shipped tokenizer with a chat template, or without."""
    made = AutoTokenizer.from_pretrained(tokenizer().name_or_path)
    made.chat_template = template
    return Encoder(made, 256, **settings)


def test_context_comes_through_the_template_and_twins_differ_in_the_instruction_only():
    found = encoder(OPEN)
    before = "system: Be brief.\nuser: Capital of Peru?\nassistant: Lima\nuser: "
    assert found.prompt_text(example()) == f"{before}Name the capital.\n\nInput: Norway\nassistant:"
    assert found.prompt_text(example(), masked=True) == f"{before}_ the capital.\n\nInput: Norway\nassistant:"
    encoded = found.encode(example())
    assert encoded.text == found.prompt_text(example()) and encoded.masked_prompt


def test_an_instruction_that_is_the_system_prompt_is_masked_there():
    found, one = encoder(OPEN), example(as_system=True, context=CONTEXT[1:])
    before = "\nuser: Capital of Peru?\nassistant: Lima\nuser: Norway\nassistant:"
    assert found.prompt_text(one) == f"system: Name the capital.{before}"
    assert found.prompt_text(one, masked=True) == f"system: _ the capital.{before}"
    assert found.prompt_text(one, num_cut=4).endswith("user: No\nassistant:")


@pytest.mark.parametrize("as_system", [False, True])
def test_without_a_template_the_conversation_is_plain(as_system):
    found = encoder()
    one = example(as_system=as_system, context=CONTEXT[1:] if as_system else CONTEXT)
    first = "Name the capital." if as_system else "Be brief."
    last = "Norway" if as_system else "Name the capital.\n\nInput: Norway"
    assert found.prompt_text(one) == f"{first}\n\nCapital of Peru?\nOutput: Lima\n\n{last}\nOutput:"
    assert plain_prompt([{"role": "user", "content": "a"}]) == "a\nOutput:"


def test_the_systems_prompt_of_the_config_is_for_examples_that_bring_none():
    found = encoder(OPEN, system="Shout.")
    assert found.prompt_text(example(context=())).startswith("system: Shout.\nuser: Name")
    assert found.prompt_text(example()).startswith("system: Be brief.\nuser: Capital of Peru?")
    assert found.prompt_text(example(as_system=True, context=())).startswith(
        "system: Name the capital.\nuser: N"
    )
    assert encoder(system="Shout.").prompt_text(example(context=())).startswith("Shout.\n\nName the capital.")


@pytest.mark.parametrize("template", [REFUSING, DROPPING])
def test_a_template_without_a_system_role_gets_it_in_front_of_the_first_user_turn(template, caplog):
    found = encoder(template)
    said = "user: Be brief.\n\nCapital of Peru?\nassistant: Lima\nuser: "
    expected = f"{said}Name the capital.\n\nInput: Norway\nassistant:"
    assert [found.prompt_text(example()) for _ in range(3)] == [expected] * 3
    assert [one.getMessage() for one in caplog.records].count(caplog.records[0].getMessage()) == 1
    assert "takes no system prompt: it is put in front of the user's first turn" in caplog.text
    assert found.messages(example())[0] == {"role": "user", "content": "Be brief.\n\nCapital of Peru?"}
    whole = found.prompt_text(example(as_system=True, context=()), masked=True)
    assert whole == "user: _ the capital.\n\nNorway\nassistant:"


def test_show_gives_the_prompt_its_twin_and_the_messages_that_render_to_it(monkeypatch):
    found = encoder(OPEN)
    monkeypatch.setattr(vocabulary, "encoder_of", lambda section: found)
    shown = dict(prompts_of(ModelSection())(Task("t", (PARTED,), (example(),), (), "rougeL")))
    assert list(shown) == ["prompt, exactly", "prompt of the masked twin", "messages to send"]
    sent = found.tokenizer.apply_chat_template(
        json.loads(shown["messages to send"]), tokenize=False, add_generation_prompt=True
    )
    assert sent == shown["prompt, exactly"] == found.encode(example()).text
    assert shown["prompt of the masked twin"].count("_ the capital.") == 1
    too_long = example(instruction=Instruction("word " * 300))
    ((heading, text),) = prompts_of(ModelSection())(Task("t", (PARTED,), (too_long,), (), "rougeL"))
    assert heading == "no prompt" and "Raise it to at least" in text
    cut = example(input="word " * 300)
    first, _ = next(iter(prompts_of(ModelSection())(Task("t", (PARTED,), (cut,), (), "rougeL"))))
    assert "characters of the input cut" in first


def test_an_example_without_a_system_prompt_is_rendered_as_ever(caplog):
    found = encoder(REFUSING)
    assert found.prompt_text(example(context=())) == "user: Name the capital.\n\nInput: Norway\nassistant:"
    assert not caplog.records


def test_arguments_reach_the_template_and_the_response_goes_on_from_it():
    plain, silent = encoder(THINKING), encoder(THINKING, arguments={"enable_thinking": False})
    assert silent.prompt_text(example()) == f"{plain.prompt_text(example())} <think></think>"
    assert plain.tokenizer.decode(plain.encode(example()).response[:-1]) == " Oslo"
    assert silent.tokenizer.decode(silent.encode(example()).response[:-1]) == "Oslo"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"enable_thinkin": False}, "reads no 'enable_thinkin'; did you mean 'enable_thinking'"),
        ({"zzz": 1}, "reads no 'zzz'; remove it"),
        ({"messages": "x"}, "'messages' is set by kpig"),
        ({"add_generation_prompt": False}, "'add_generation_prompt' is set by kpig"),
    ],
)
def test_arguments_that_the_template_does_not_read_are_refused(arguments, words):
    with pytest.raises(ModelError, match=words):
        encoder(THINKING, arguments=arguments)


def test_one_of_several_templates_is_chosen_by_its_name():
    several = {"default": OPEN, "loud": "{% for m in messages %}{{ m.content }}!{% endfor %}"}
    assert encoder(several, use_chat_template="loud").prompt_text(example(context=())).endswith("Norway!")
    assert encoder(several).prompt_text(example(context=())).startswith("user: ")
    with pytest.raises(ModelError, match=r"model\.chat_template is 'lout'; .* has default and loud"):
        encoder(several, use_chat_template="lout")
    with pytest.raises(ModelError, match="one template without a name; set it to true"):
        encoder(OPEN, use_chat_template="loud")
    with pytest.raises(ModelError, match=r"name one as model\.chat_template"):
        encoder({"a": OPEN, "b": OPEN})


def test_arguments_without_a_template_are_refused():
    with pytest.raises(ModelError, match="ask for a chat template"):
        encoder(arguments={"enable_thinking": False})
    with pytest.raises(ConfigError, match=r"chat_template_arguments.*has no effect.*chat_template = false"):
        build({"model": {"chat_template": False, "chat_template_arguments": {"a": 1}}})


def test_the_settings_survive_the_file_of_a_run(tmp_path):
    model = {
        "system": "S",
        "chat_template": "loud",
        "chat_template_arguments": {"enable_thinking": False, "n": 2},
    }
    config = build({"model": model})
    (tmp_path / "c.toml").write_text(dump(config), encoding="utf-8")
    assert load(tmp_path / "c.toml") == config
    set_by_hand = build(
        {}, ["model.chat_template_arguments.enable_thinking=false", "model.chat_template=loud"]
    )
    assert set_by_hand.model.chat_template_arguments == {"enable_thinking": False}
    assert set_by_hand.model.chat_template == "loud"


def test_context_is_part_of_the_digest_of_the_cache_and_of_memory():
    task = stream.suite.task(("reverse", "json"), 3, 1, 0)
    changed = [
        dataclasses.replace(task, train=(dataclasses.replace(one, **change), *task.train[1:]))
        for one in task.train[:1]
        for change in ({}, {"context": CONTEXT}, {"context": CONTEXT[:1]}, {"as_system": True})
    ]
    assert len({digests.of_task(one) for one in changed}) == 4
    found = encoder(OPEN)
    assert len({found.encode(one.train[0]).prompt for one in changed}) == 4
    for one in changed:
        memory, restored = Memory(5, 0), Memory(5, 0)
        memory.add(one)
        restored.restore(json.loads(json.dumps(memory.state())))
        assert restored.tasks == memory.tasks


# --- the whole way -----------------------------------------------------------------------------------


def conversation(question: str, answer: str) -> dict[str, object]:
    said = [
        ("system", "Be kind."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", question),
        ("assistant", answer),
    ]
    return {"messages": [{"role": role, "content": text} for role, text in said]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A task in each of six formats and a config beside them."""
    path = tmp_path_factory.mktemp("formats")
    words = ["ant", "box", "cup", "dog", "egg", "fan"]
    pairs = [(f"Say {word} twice.", f"{word} {word}") for word in words]
    shared = [{"from": "human"}, {"from": "gpt"}]
    rows = {
        "chat.jsonl": [conversation(*pair) for pair in pairs],
        "share.json": [
            {"conversations": [{**who, "value": text} for who, text in zip(shared, pair, strict=True)]}
            for pair in pairs
        ],
        "complete.jsonl": [{"prompt": one, "completion": other} for one, other in pairs],
        "alpaca.json": [{"instruction": one, "input": "now", "output": other} for one, other in pairs],
        "dolly.jsonl": [{"instruction": one, "context": "a", "response": other} for one, other in pairs],
    }
    (path / "tasks").mkdir()
    for name, lines in rows.items():
        text = json.dumps(lines) if name.endswith(".json") else "\n".join(map(json.dumps, lines))
        (path / "tasks" / name).write_text(text, encoding="utf-8")
    table = "instruction,output\n" + "".join(f"{one},{other}\n" for one, other in pairs)
    (path / "tasks" / "table.csv").write_text(table, encoding="utf-8")
    settings = {
        "model": {"system": "Be brief."},
        "stream": {"path": "tasks", "tasks_per_step": 6, "test_per_task": 1},
        "train": {"updates_per_step": 1, "batch_size": 2},
        "method": {"name": "replay"},
        "evaluate": {"max_new_tokens": 2},
    }
    (path / "my.toml").write_text(dump(RunConfig.model_validate(settings)), encoding="utf-8")
    return path


def test_check_show_eval_and_run_take_a_file_of_every_format(folder, tmp_path):
    config, tasks = check(folder / "my.toml")
    names = ["alpaca", "chat", "complete", "dolly", "share", "table"]
    assert [task.name for task in tasks.tasks] == names
    evaluated, answered = evaluate_model(
        config.model, {SEEN: tasks.tasks}, EvaluateSection(max_new_tokens=2), "cpu", Watcher()
    )
    assert list(evaluated.tasks) == names
    prompts = {one.task: one.prompt for one in answered}
    assert prompts["chat"].startswith("Be kind.\n\nHello\nOutput: Hi\n\nSay ")
    assert prompts["share"].startswith("Be brief.\n\nSay ")
    assert prompts["alpaca"].endswith("\n\nInput: now\nOutput:")
    shown = prompts_of(config.model)
    for task in tasks.tasks:
        ((heading, text),) = shown(task)
        assert heading == "prompt, exactly" and escape(text) in html(task, prompts=shown(task))
    job.run(config, tmp_path / "run")
    finished = json.loads((tmp_path / "run" / "steps" / "01" / "scores.json").read_text("utf-8"))
    assert set(names) <= finished["tasks"].keys()


def test_tasks_of_a_config_and_of_a_run_come_with_their_prompts(folder, tmp_path):
    config = str(folder / "my.toml")
    assert [task.name for task in read_tasks(config)][:2] == ["alpaca", "chat"]
    assert prompted(ModelSection(path="other"), config).system == "Be brief."
    assert prompted(ModelSection(path="other"), "suite") == ModelSection(path="other")
    assert model_of(config, "").path == "tiny" and model_of(config, "other").path == "other"
    assert model_of("suite", "") is None


def test_a_mixture_keeps_what_was_said_before(folder, tmp_path):
    (task,) = (one for one in stream.load(folder / "tasks").tasks if one.name == "chat")
    mixture.write_mixture(mixture.Mixture((task,), 0, 0), tmp_path / "mixture.jsonl.gz")
    (again,) = stream.load(tmp_path / "mixture.jsonl.gz").tasks
    assert [one.context for one in again.train] == [one.context for one in task.train]
    assert len(task.train[0].context) == 3


def test_the_encoder_without_weights_is_that_of_the_loaded_model():
    section = ModelSection(system="S", max_length=99)
    one, other = loading.load_encoder(section), loading.load(section).encoder
    assert (one.max_length, one.system, one.chat) == (other.max_length, other.system, other.chat)
    assert one.encode(example()) == other.encode(example())
