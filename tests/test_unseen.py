"""What is cut or left out is counted and told, by `kpig check` before a run and by the run itself."""

import logging
from dataclasses import replace
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from kpig.cli.commands import app
from kpig.config import ModelSection
from kpig.config.tree import build
from kpig.errors import DataError
from kpig.model import adapters, loading
from kpig.progress import Watcher
from kpig.records import Example, Instruction, Message, Stream, Task
from kpig.runs import unseen
from kpig.runs.job import run
from kpig.tasks import stream
from test_stream import jsonl

SEED = Instruction("Repeat the words.")


def task(name, inputs, references, num_test):
    examples = tuple(
        Example(
            f"{name}-{number}", name, SEED, text, (reference,) if isinstance(reference, str) else reference
        )
        for number, (text, reference) in enumerate(zip(inputs, references, strict=True))
    )
    return Task(name, (SEED,), examples[num_test:], examples[:num_test], "rougeL")


def config(**tables):
    return build({"model": {"path": "tiny", "max_length": 128}, **tables})


@pytest.fixture(scope="module")
def encoder():
    return loading.load_encoder(ModelSection(max_length=128))


def test_inputs_that_are_cut_are_counted_by_task(encoder):
    tasks = Stream("s", ((task("long", ["word " * 300, "two", "word " * 200], ["a"] * 3, 1),),))
    tasks = Stream("s", (*tasks.steps, (task("short", ["one", "two"], ["a"] * 2, 1),)))
    found = unseen.cut(encoder, tasks, config())
    assert found.inputs == {"long": 2} and found.references == {}
    (sentence,) = found.sentences(encoder.max_length, 64)
    assert sentence.startswith(
        "2 of 5 examples have an input that does not fit 128 tokens (long): its end is"
    )
    assert unseen.cautions(config(), tasks) == [sentence]


@pytest.mark.parametrize("place", ["context", "system"])
def test_what_earlier_turns_and_system_prompts_cut_is_counted(place):
    said = "word " * 45
    plain = task("t", ["two " * 30] * 3, ["a"] * 3, 1)
    spoken = tuple(replace(one, context=(Message("system", said),)) for one in (*plain.train, *plain.test))
    chat = replace(plain, train=spoken[:2], test=spoken[2:])
    settings = config(model={"path": "tiny", "max_length": 128, "system": said if place == "system" else ""})
    (sentence,) = unseen.cautions(settings, Stream("s", ((chat if place == "context" else plain,),)))
    assert sentence.startswith("1 of 3 examples have an input that does not fit 128 tokens")
    assert unseen.cautions(config(), Stream("s", ((plain,),))) == []


def test_references_that_no_answer_can_be_as_long_as_are_counted(encoder):
    long = "one two three four five six seven eight nine ten " * 5
    references = [long, (long, "one"), "one", long]
    tasks = Stream("s", ((task("t", ["a", "b", "c", "d"], references, 3),),))
    settings = config(evaluate={"max_new_tokens": 20})
    found = unseen.cut(encoder, tasks, settings)
    assert found.references == {"t": 1}
    (sentence,) = unseen.cautions(settings, tasks)
    assert sentence.startswith(
        "1 of 3 test examples have references of more than evaluate.max_new_tokens = 20"
    )


def test_a_reference_fits_where_its_end_does(encoder):
    answer = "one two three four five six seven"
    needed = len(encoder.response_ids(answer))
    tasks = Stream("s", ((task("t", ["a", "b"], [answer] * 2, 1),),))
    for most, told in ((needed, 0), (needed - 1, 1)):
        assert len(unseen.cautions(config(evaluate={"max_new_tokens": most}), tasks)) == told


def test_check_looks_at_the_longest_of_many_and_says_at_least(monkeypatch):
    monkeypatch.setattr(unseen, "MOST_ENCODED", 4)
    tasks = Stream("s", ((task("t", ["word " * 300] * 9, ["a"] * 9, 2),),))
    (sentence,) = unseen.cautions(config(), tasks)
    assert sentence.startswith("at least 4 of 9 examples")


def test_an_example_that_cannot_fit_is_refused_by_check_as_by_the_run(encoder):
    tasks = Stream("s", ((task("t", ["a"] * 3, ["word " * 400] * 3, 1),),))
    for action in (lambda: unseen.cautions(config(), tasks), lambda: unseen.cut(encoder, tasks, config())):
        with pytest.raises(DataError, match="even without the input"):
            action()


def test_a_model_on_a_hub_is_not_fetched_to_be_checked():
    tasks = Stream("s", ((task("t", ["word " * 300] * 3, ["a"] * 3, 1),),))
    assert unseen.cautions(config(model={"path": "someone/some-model"}), tasks) == []


def test_check_tells_on_the_command_line(tmp_path):
    rows = [
        {"instruction": "Repeat.", "input": f"word {n} " * 90, "output": "word", "task": "t"}
        for n in range(6)
    ]
    jsonl(tmp_path / "t.jsonl", *rows)
    (tmp_path / "run.toml").write_text('[model]\nmax_length = 100\n[stream]\npath = "t.jsonl"\n')
    result = CliRunner().invoke(app, ["check", str(tmp_path / "run.toml")])
    assert result.exit_code == 0, result.output
    assert result.output.count("examples have an input that does not fit 100 tokens (t)") == 1


def mixture(kind):
    import transformers

    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 1}
    if kind == "jamba":
        own = {"num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 4}
        return transformers.JambaConfig(**sizes, **own, num_hidden_layers=4)
    if kind == "gpt_oss":
        return transformers.GptOssConfig(**sizes, num_local_experts=4, head_dim=8, num_hidden_layers=3)
    own = {"num_local_experts": 3} if kind == "mixtral" else {}
    made = {"mixtral": transformers.MixtralConfig, "llama": transformers.LlamaConfig}[kind]
    return made(**sizes, **own, num_hidden_layers=2)


@pytest.mark.parametrize(("kind", "count"), [("jamba", 4), ("gpt_oss", 6), ("mixtral", 0), ("llama", 0)])
def test_experts_that_lora_leaves_out_are_told_and_only_these(kind, count, tmp_path):
    from transformers import AutoModelForCausalLM

    adapted = adapters.fresh(AutoModelForCausalLM.from_config(mixture(kind)), ModelSection(adapter="lora"), 0)
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert any("experts" in name for name in trained) == (kind == "mixtral")
    found = adapters.left_out(adapted)
    assert len(found) == (count > 0)
    assert not found or (f"{count} parameters that hold" in found[0] and "(model.layers." in found[0])
    mixture(kind).save_pretrained(tmp_path)
    outline = loading.outline(ModelSection(path=str(tmp_path), adapter="lora"))
    assert adapters.left_out(outline) == found


def test_rows_that_differ_in_case_and_spacing_only_are_counted(tmp_path, caplog):
    texts = [f"Plum {n}" for n in range(40)] + [f"pLUM  {n}" for n in range(40)]
    rows = [{"instruction": "Go.", "input": text, "output": "x", "task": "t"} for text in texts]
    with caplog.at_level(logging.WARNING):
        (found,) = stream.load(jsonl(tmp_path / "t.jsonl", *rows)).tasks
    dropped = 80 - len(found.train) - len(found.test)
    expected = (
        f"{dropped} training examples repeat a test input ({dropped} in other case or spacing); dropped"
    )
    assert dropped and expected in caplog.text


def test_examples_in_both_splits_are_refused_whatever_their_case(tmp_path):
    rows = [
        {"instruction": "Go.", "input": text, "output": "x", "task": "t", "split": split}
        for text, split in (("Plum", "train"), ("plum ", "test"))
    ]
    with pytest.raises(DataError, match="same input, case and spacing aside"):
        stream.load(jsonl(tmp_path / "t.jsonl", *rows))


def test_the_run_tells_once_and_keeps_it_among_its_notes(tmp_path):
    long = "one two three four five six seven eight nine ten " * 3
    rows = [
        {"instruction": "Repeat.", "input": f"{n} word " * 90, "output": long, "task": "t", "split": split}
        for n, split in enumerate(["train"] * 4 + ["test"] * 2)
    ]
    settings = build(
        {
            "model": {"path": "tiny", "max_length": 120},
            "stream": {"path": str(jsonl(tmp_path / "t.jsonl", *rows))},
            "train": {"updates_per_step": 1, "batch_size": 2},
            "evaluate": {"max_new_tokens": 4},
            "method": {"name": "sequential"},
        }
    )
    found = run(settings, tmp_path / "run", watch=Told())
    assert found.shortened_examples == 6
    assert found.notes == tuple(unseen.cautions(settings, stream.configured(settings)))
    assert [said.removeprefix("note: ") for said in Told.said if "examples have" in said] == list(found.notes)


class Told(Watcher):
    said: ClassVar[list[str]] = []

    def say(self, text):
        self.said.append(text)
