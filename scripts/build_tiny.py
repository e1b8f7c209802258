"""Build the tiny model that kpig ships: tokenizer, weights and card, from fixed seeds.

    python scripts/build_tiny.py [--out src/kpig/tiny]

It learns the built-in suite's base skills and nothing else, with the loop that trains everything here.
"""

import argparse
import json
import platform
import random
import time
from pathlib import Path

import tiny_tokenizer
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kpig import config
from kpig.methods.base import Step
from kpig.methods.sequential import Sequential
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.records import Example, Task
from kpig.tasks import suite
from kpig.training import loop

SEED = 0
NUM_UPDATES = 4500
EXAMPLES_PER_SKILL = 1000
TESTS_PER_SKILL = 20
SHAPE = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 3, "num_attention_heads": 4}
SETTINGS = {
    "seed": SEED,
    "method": {"name": "sequential"},
    "train": {
        "updates_per_step": NUM_UPDATES,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "warmup": 0.045,
        "weight_decay": 0.01,
        "beta2": 0.98,
        "checkpoint_every": 0,
    },
}


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src" / "kpig" / "tiny")
    out = parser.parse_args().out
    learner = untrained()
    losses, seconds = train_on_base_skills(learner)
    accuracy = exact_accuracy(learner, suite.base_skills())
    unseen = exact_accuracy(learner, suite.free_compositions())
    learner.save(out)
    facts = {
        "parameters": sum(weight.numel() for weight in learner.model.parameters()),
        "vocabulary": len(learner.tokenizer),
        "updates": NUM_UPDATES,
        "train_tokens": learner.ledger.train_tokens,
        "train_seconds": round(seconds),
        "accuracy": accuracy,
        "accuracy_unseen": unseen,
        "losses": losses,
    }
    (out / "README.md").write_text(card(facts), encoding="utf-8")
    (out / "card.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"{out}: {100 * mean(accuracy):.1f} % of base-skill responses exactly right")


def untrained() -> Learner:
    """A randomly initialised model of the tiny shape with its own tokenizer."""
    tokenizer = tiny_tokenizer.build()
    torch.manual_seed(SEED)
    ids = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    shape = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=2048, tie_word_embeddings=True, **SHAPE, **ids
    )
    return Learner(LlamaForCausalLM(shape), tokenizer, Encoder(tokenizer, 2048))


def train_on_base_skills(learner: Learner) -> tuple[list[list[float]], float]:
    """One long step over all base skills; the loss every 100 updates, and the seconds it took."""
    settings = config.build(SETTINGS)
    step = Step(1, tuple(skill_task(skill) for skill in suite.base_skills()), NUM_UPDATES)
    losses: list[list[float]] = []
    start = time.perf_counter()

    def log(event: dict) -> None:
        if event["update"] % 100 == 0:
            losses.append([event["update"], event["loss"]])
            print(event["update"], event["loss"], round(time.perf_counter() - start), flush=True)

    loop.fit_step(learner, Sequential(settings), step, settings, log, save=lambda state: None)
    return losses, time.perf_counter() - start


def skill_task(skill: suite.Composition) -> Task:
    """A base skill under every mix of the wordings that may be trained on."""
    numbers = range(suite.NUM_TRAINED_WORDINGS)
    plain = skill[1] == "plain"
    mixes = [(g, o, d) for g in numbers for o in numbers for d in (numbers if not plain else (0,))]
    task = suite.task(skill, EXAMPLES_PER_SKILL, TESTS_PER_SKILL, SEED)
    wordings = tuple(suite.instruction(skill, *mix) for mix in mixes)
    return Task(task.name, wordings, task.train, task.test, task.metric)


def exact_accuracy(learner: Learner, skills) -> dict[str, float]:
    """Share of responses that equal the gold to the letter, per composition, under mixed wordings."""
    rng = random.Random(SEED)
    accuracy = {}
    for skill in skills:
        examples = [suite_test_example(skill, rng) for _ in range(TESTS_PER_SKILL)]
        prompts = [learner.encoder.encode(example).prompt for example in examples]
        answers = learner.generate(prompts, max_new_tokens=32)
        right = sum(text == example.response for (text, _), example in zip(answers, examples, strict=True))
        accuracy["-".join(skill)] = right / len(examples)
    return accuracy


def suite_test_example(skill: suite.Composition, rng: random.Random) -> Example:
    """A fresh list under a random mix of wordings."""
    wordings = [rng.randrange(suite.NUM_TRAINED_WORDINGS) for _ in range(3)]
    words = suite.word_list(rng)
    return Example(
        "test",
        "-".join(skill),
        suite.instruction(skill, *wordings),
        " ".join(words),
        (suite.solve(skill, words),),
    )


def mean(accuracy: dict[str, float]) -> float:
    """Unweighted mean over skills."""
    return sum(accuracy.values()) / len(accuracy)


def card(facts: dict) -> str:
    """The model card, with the numbers of this very build."""
    accuracy = facts["accuracy"]
    worst = sorted(accuracy, key=accuracy.get)[:6]
    shape = (
        "width {hidden_size}, {num_hidden_layers} layers, {num_attention_heads} heads, "
        "inner width {intermediate_size}"
    )
    return f"""# The tiny model of kpig

A Llama-architecture causal LM of {facts["parameters"]:,} parameters ({shape.format(**SHAPE)}, \
tied embeddings)
with a byte-level BPE tokenizer of {facts["vocabulary"]} tokens: lossless on any text, one token for every \
word of
the built-in suite in lower and upper case. It exists so that everything in kpig can be tried in minutes on a
laptop; it knows nothing but the suite's base skills.

| | |
|---|---|
| built by | `python scripts/build_tiny.py`, seed {SEED} |
| trained on | the {len(accuracy)} base skills of `kpig.tasks.suite` (`suite.base_skills()`); no composition \
of its streams or held-out tasks |
| updates | {facts["updates"]} of 64 examples, AdamW 2e-3 cosine, β₂ 0.98 |
| tokens | {facts["train_tokens"]:,} |
| time | {facts["train_seconds"]} s on {torch.get_num_threads()} CPU thread(s), \
torch {torch.__version__}, Python {platform.python_version()} |
| base skills | {100 * mean(accuracy):.1f} % of fresh responses equal the gold to the letter \
({TESTS_PER_SKILL} per skill, wordings mixed) |
| weakest | {", ".join(f"{name} {100 * accuracy[name]:.0f} %" for name in worst)} |
| other compositions | {100 * mean(facts["accuracy_unseen"]):.1f} % \
of the {len(facts["accuracy_unseen"])} that it never saw |

The tokenizer's merges come from the suite's texts and from CPython's `pydoc_data.topics`; the bits of a \
rebuild
depend on the versions above and on the number of threads.
"""


if __name__ == "__main__":
    main()
