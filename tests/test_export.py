"""What is exported answers as the run did, in plain transformers and PEFT, in a process without kpig."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import metadata_load
from safetensors import safe_open
from transformers import AutoTokenizer

from kpig import config
from kpig.config import ModelSection
from kpig.errors import RunError
from kpig.model import loading
from kpig.model.loading import load
from kpig.records import Example
from kpig.runs import asked, export, job
from kpig.runs.served import step_of
from kpig.scoring import predictions
from kpig.scoring.scores import read_evaluation, read_step
from test_cli import kpig, refused
from test_served import SETTINGS

TINY = Path(__file__).parents[1] / "src" / "kpig" / "tiny"
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PLAIN = """
import json, sys
sys.modules["kpig"] = None
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
folder, kind, asked = sys.argv[1:]
if kind == "adapter":
    from peft import AutoPeftModelForCausalLM
    model = AutoPeftModelForCausalLM.from_pretrained(folder)
else:
    model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
settings = GenerationConfig.from_pretrained(folder)
for text in json.load(open(asked)):
    messages = [{"role": "user", "content": text}]
    batch = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    found = model.generate(**inputs, generation_config=settings)
    answer = tokenizer.decode(found[0, batch["input_ids"].shape[1]:], skip_special_tokens=True)
    print(json.dumps(answer.strip()))
"""


def trained(folder: Path, adapter: str, base: Path | str = "tiny") -> Path:
    settings = SETTINGS | {"model": SETTINGS["model"] | {"adapter": adapter, "path": str(base)}}
    job.run(config.build(settings), folder)
    return folder


@pytest.fixture(scope="module")
def lora(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("lora") / "run", "lora")


@pytest.fixture(scope="module")
def chatty(tmp_path_factory) -> Path:
    """A run of all weights on a base with a chat template, sampling settings and a card."""
    base = tmp_path_factory.mktemp("base") / "base"
    shutil.copytree(TINY, base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(base)
    (base / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "temperature": 1.9, "repetition_penalty": 3.0, "eos_token_id": [0, 5]})
    )
    (base / "README.md").write_text("---\nlicense: cc-by-4.0\n---\nA base.\n")
    return trained(tmp_path_factory.mktemp("chatty") / "run", "none", base)


def asked_and_answered(run: Path, number: int) -> tuple[list[str], list[str]]:
    rows = [
        row
        for path in sorted((run / "steps" / f"{number:02d}" / "predictions").glob("*.jsonl"))
        for row in predictions.read(path)
    ]
    texts = [
        row.prompt.removesuffix("\nOutput:").removeprefix("<|user|>").removesuffix("\n<|assistant|>")
        for row in rows
    ]
    return texts, [row.response for row in rows]


def answers_without_kpig(folder: Path, kind: str, texts: list[str], where: Path) -> list[str]:
    asked = where / "asked.json"
    asked.write_text(json.dumps(texts))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(folder), kind, str(asked)],
        capture_output=True,
        text=True,
        cwd=where,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("merge", [False, True])
def test_an_exported_adapter_answers_as_the_run_in_plain_peft_or_merged_in_transformers(
    lora, tmp_path, merge
):
    out = tmp_path / "served" / "model"
    done = kpig("export", lora, "--out", out, *(["--merge"] if merge else []))
    assert done.returncode == 0, done.stderr
    texts, expected = asked_and_answered(lora, 2)
    moved = tmp_path / "elsewhere"
    shutil.move(out, moved)
    assert answers_without_kpig(moved, "model" if merge else "adapter", texts, tmp_path) == expected
    assert not list(moved.parent.glob(".*")) and (moved / "adapter_config.json").is_file() != merge
    if not merge:
        base = json.loads((moved / "adapter_config.json").read_text())["base_model_name_or_path"]
        assert os.path.isabs(base) and (Path(base) / "config.json").is_file()


def test_all_weights_with_a_chat_template_answer_greedily_whatever_the_base_samples(chatty, tmp_path):
    found = export.export(step_of(chatty, 1), tmp_path / "out")
    texts, expected = asked_and_answered(chatty, 1)
    assert answers_without_kpig(found.folder, "model", texts, tmp_path) == expected
    settings = json.loads((found.folder / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [0, 5] and settings["do_sample"] is False
    assert settings["max_new_tokens"] == 17 and not {"temperature", "repetition_penalty"} & settings.keys()
    assert metadata_load(found.folder / "README.md")["license"] == "cc-by-4.0"
    assert (found.is_adapter, found.notes) == (False, ())


def test_kpig_itself_gives_what_it_exported_the_scores_of_the_run(lora, tmp_path):
    export.export(step_of(lora), tmp_path / "out", merge=True)
    done = kpig(
        "eval", tmp_path / "out", "--tasks", lora, "--out", tmp_path / "scores", "--max-new-tokens", 17
    )
    assert done.returncode == 0, done.stderr
    own, _ = read_step(lora / "steps/02/scores.json")
    found = read_evaluation(tmp_path / "scores/scores.json")
    assert {n: s.p_score for n, s in found.tasks.items()} == {n: s.p_score for n, s in own.tasks.items()}
    plain, chat = load(ModelSection()), load(ModelSection(path=str(tmp_path / "out")))
    assert chat.encoder.chat and plain.encoder.response_ids("pig") == chat.encoder.response_ids("pig")


def test_only_safetensors_are_written_in_the_dtype_that_was_asked_for(lora, tmp_path):
    export.export(step_of(lora), tmp_path / "merged", merge=True, dtype="bfloat16")
    export.export(step_of(lora), tmp_path / "adapter", dtype="float16")
    for name, dtype in (("merged", torch.bfloat16), ("adapter", torch.float16)):
        suffixes = {path.suffix for path in (tmp_path / name).iterdir()}
        assert suffixes == {".safetensors", ".json", ".jinja", ".md"}
        (weights,) = (tmp_path / name).glob("*.safetensors")
        with safe_open(weights, framework="pt") as opened:
            assert {opened.get_tensor(key).dtype for key in opened.keys()} == {dtype}  # noqa: SIM118
    assert json.loads((tmp_path / "merged/config.json").read_text())["dtype"] == "bfloat16"


def test_the_card_is_filled_in_and_its_code_runs(lora, chatty, tmp_path):
    for run, number, kind in ((lora, 2, "peft"), (chatty, 2, "transformers")):
        folder = export.export(step_of(run), tmp_path / kind, licence="mit").folder
        card = (folder / "README.md").read_text()
        own, _ = read_step(run / f"steps/{number:02d}/scores.json")
        assert "More Information Needed" not in card and "| method | sequential, seed 0" in card
        for name, score in own.tasks.items():
            assert f"| {name} | {score.group.replace('_', '-')} | {score.metric} |" in card
            assert f" {score.p_score:.1f} | {score.v_score:.1f} | {score.n} |" in card
        data = metadata_load(folder / "README.md")
        assert (data["license"], data["library_name"]) == ("mit", kind)
        assert len(prompts_of_the_cards_code(folder)) == 1


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(lora, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("x")
    assert "is not empty" in refused("export", lora, "--out", full) and len(list(full.iterdir())) == 1
    assert "is a file" in refused("export", lora, "--out", full / "mine.txt")
    assert "lies inside the run" in refused("export", lora, "--out", lora / "out")
    assert "holds no run" in refused("export", tmp_path, "--out", tmp_path / "out")
    assert "step 0 is the untuned model tiny" in refused(
        "export", lora, "--step", 0, "--out", tmp_path / "out"
    )
    assert "no finished step 9" in refused("export", lora, "--step", 9, "--out", tmp_path / "out")
    copy = tmp_path / "copy"
    shutil.copytree(lora, copy)
    (copy / "steps/02/adapter/adapter_model.safetensors").write_bytes(b"x" * 40)
    assert "adapter" in refused("export", copy, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_an_adapter_whose_base_is_another_one_by_now_is_refused(lora, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(lora, copy)
    environment = json.loads((copy / "environment.json").read_text())
    (copy / "environment.json").write_text(json.dumps(environment | {"model_digest": "0" * 64}))
    with pytest.raises(RunError, match="began with another model"):
        export.export(step_of(copy), tmp_path / "out")


def test_an_empty_folder_is_filled(lora, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    export.export(step_of(lora), tmp_path / "empty")
    assert (tmp_path / "empty/adapter_model.safetensors").is_file()
    monkeypatch.chdir(tmp_path)
    export.export(step_of(lora), Path("new/inner"))
    assert (tmp_path / "new/inner/README.md").is_file()


def test_where_writing_fails_nothing_is_left(lora, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "replace_folder", full)
    with pytest.raises(RunError, match="No space left"):
        export.export(step_of(lora), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_system_prompt_template_arguments_and_one_of_several_templates_stay_in_the_prompt(
    tmp_path,
):
    base = tmp_path / "base"
    shutil.copytree(TINY, base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    shown = CHAT + "{{ 'think' if think else 'quick' }}:{{ note }}"
    tokenizer.chat_template = {"default": "{{ messages }}", "short": shown}
    tokenizer.save_pretrained(base)
    chosen = {"chat_template": "short", "chat_template_arguments": {"think": False, "note": 'a "b" é'}}
    for number, more in enumerate(
        (chosen | {"system": "Be brief."}, {"chat_template": False, "system": "S `x`"})
    ):
        model = {"path": str(base), "adapter": "lora"} | more
        settings = SETTINGS | {"model": model, "train": {"updates_per_step": 1}}
        settings["suite"] = {"num_steps": 1, "num_train": 16, "num_test": 2, "num_held_out": 0}
        run = tmp_path / str(number)
        job.run(config.build(settings), run)
        found = export.export(step_of(run), tmp_path / f"out-{number}", merge=True)
        assert found.notes == ()
        plain = AutoTokenizer.from_pretrained(found.folder)
        for path in (run / "steps/01/predictions").glob("*.jsonl"):
            for row in predictions.read(path):
                body = row.prompt.split("Be brief.\n<|user|>" if number == 0 else "S `x`\n\n")[1]
                body = body.split("\n<|assistant|>" if number == 0 else "\nOutput:")[0]
                said = [{"role": "system", "content": more["system"]}, {"role": "user", "content": body}]
                text = plain.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
                assert text == row.prompt
        code = (found.folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=found.folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_a_template_that_tells_the_date_is_not_called_exact(tmp_path):
    base = tmp_path / "base"
    shutil.copytree(TINY, base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{{ strftime_now('%H:%M:%S %f') }}" + CHAT
    tokenizer.save_pretrained(base)
    settings = {"path": str(base), "adapter": "lora"}
    small = {"num_steps": 1, "num_train": 16, "num_test": 2, "num_held_out": 0}
    run = tmp_path / "run"
    job.run(config.build(SETTINGS | {"model": settings, "suite": small}), run)
    found = export.export(step_of(run), tmp_path / "out")
    assert "does not make the run's prompts" in found.notes[0]
    assert "does not make the run's prompts" in (found.folder / "README.md").read_text()


def kept_in(folder: Path, as_system: bool, *names: str) -> Path:
    """Chat lines of tasks with their instruction as system prompt, or in the user's turn."""
    folder.mkdir(exist_ok=True)
    system = [{"role": "system", "content": "Is it `fine` 😀?"}] if as_system else []
    before = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"}]
    for name in names:
        lines = []
        for n in range(6):
            user = {"role": "user", "content": f"Word {n}." if as_system else f"Name {name}, {n}."}
            said = [*system, *before, user, {"role": "assistant", "content": f"yes {n % 2}"}]
            lines.append(json.dumps({"messages": said}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def prompts_of_the_cards_code(folder: Path) -> list[str]:
    """What the card's code gives the model, in a process without kpig, where it runs to its end."""
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    looked = code.replace(
        "    found = model.generate",
        "    print('PROMPT', ascii(tokenizer.decode(batch['input_ids'][0])))\n    found = model.generate",
    )
    assert looked != code
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['kpig'] = None\n" + looked],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("PROMPT ")]
    return [ast.literal_eval(line.removeprefix("PROMPT ")) for line in lines]


def prompt_of(run: Path, example: Example) -> str:
    """What the run asks a model with."""
    encoder = loading.load_encoder(config.load_resolved(run / "config.toml").model)
    return encoder.tokenizer.decode(encoder.encode(example).prompt)


def run_of(tasks: Path, as_system: bool, base: Path | str, out: Path) -> Path:
    columns = {"instruction": "system"} if as_system else {}
    settings = {key: value for key, value in SETTINGS.items() if key != "suite"} | {
        "model": SETTINGS["model"] | {"path": str(base)},
        "stream": {"path": str(tasks), "columns": columns},
        "train": {"updates_per_step": 1},
    }
    job.run(config.build(settings), out)
    return out


REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}" + CHAT


@pytest.mark.parametrize("as_system", [True, False])
@pytest.mark.parametrize("template", ["", CHAT, REFUSING])
def test_the_cards_code_gives_the_very_prompts_of_the_run_wherever_its_instruction_stands(
    template, as_system, tmp_path
):
    base: Path | str = "tiny"
    if template:
        base = tmp_path / "base"
        shutil.copytree(TINY, base)
        tokenizer = AutoTokenizer.from_pretrained(base)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(base)
    run = run_of(kept_in(tmp_path / "tasks", as_system, "a", "b"), as_system, base, tmp_path / "run")
    found = export.export(step_of(run), tmp_path / "out")
    (given,) = prompts_of_the_cards_code(found.folder)
    (form,) = asked.forms(step_of(run))
    assert given == prompt_of(run, form.stand_in) and found.notes == ()
    texts = [row.prompt for row in predictions.read(run / "steps/02/predictions/a.jsonl")]
    assert prompt_of(run, form.example) in texts
    card = (found.folder / "README.md").read_text()
    assert ("as the system prompt, and the bare input" in card) == (as_system and template != REFUSING)
    assert ("takes no system prompt" in card) == (as_system and template == REFUSING)
    assert ("`Input: ` with the input behind it" in card) != as_system
    assert "exactly these prompts" in card
    assert "fine" not in card and "Word 0" not in card and "Name a" not in card


def test_where_some_tasks_are_asked_one_way_and_some_the_other_the_card_says_both(tmp_path):
    run = run_of(kept_in(tmp_path / "first", True, "a"), True, "tiny", tmp_path / "run")
    more = kept_in(tmp_path / "more", False, "b")
    job.extend(run, str(more), ["stream.columns={}"])
    found = export.export(step_of(run), tmp_path / "out")
    first, second = prompts_of_the_cards_code(found.folder)
    found_forms = asked.forms(step_of(run))
    assert [first, second] == [prompt_of(run, one.stand_in) for one in found_forms] and found.notes == ()
    assert [one.as_system for one in found_forms] == [True, False]
    card = (found.folder / "README.md").read_text()
    assert "Tasks a: ask it with the instruction as the system prompt" in card
    assert "Tasks b: ask it with the instruction and, where there is an input" in card


def test_the_card_of_a_method_that_puts_steps_together_names_all_tasks(tmp_path):
    kept_in(tmp_path / "tasks", False, "a")
    kept_in(tmp_path / "tasks", True, "b")
    settings = {key: value for key, value in SETTINGS.items() if key != "suite"} | {
        "stream": {"path": str(tmp_path / "tasks")},
        "train": {"updates_per_step": 1},
        "method": {"name": "mtl"},
    }
    run = tmp_path / "run"
    job.run(config.build(settings), run)
    assert asked.learned_by(step_of(run)) == [["a", "b"]]
    found = export.export(step_of(run), tmp_path / "out")
    assert "a, b" in (found.folder / "README.md").read_text()


def test_a_run_that_keeps_no_tasks_is_exported_with_a_note(lora, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(lora, copy)
    for folder in copy.glob("steps/*/tasks"):
        shutil.rmtree(folder)
    found = export.export(step_of(copy), tmp_path / "out")
    assert "keeps no examples" in found.notes[0]
    assert "keeps no examples" in (found.folder / "README.md").read_text()
    assert len(prompts_of_the_cards_code(found.folder)) == 1
