"""Whether a change of the code changes any number: every method learns the built-in suite, twice.

    python benchmarks/same_numbers.py record --src OLD/src --out old.json
    python benchmarks/same_numbers.py record --src NEW/src --out new.json
    python benchmarks/same_numbers.py compare old.json new.json

`record` runs every method with full tuning and with LoRA in processes of their own, whose kpig is
the one in --src, and writes down what came out: every update's losses, the scores, and SHA-256 sums
of the final weights, of the methods' tensors and of the predictions. `compare` prints a line for
each run and ends with exit code 1 if anything differs; what the second record has beyond the first
is listed as added and is no difference. Nothing of kpig is imported here, so old checkouts can be
recorded too.

The sizes are small, so that all runs take about ten minutes of one core; --full takes those of
examples/suite.toml. Numbers are the same to the bit only on one machine with one set of packages.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

FULL, LORA = "full", "lora"
LEFT_OUT = {"pretrain": (FULL, LORA), "o_lora": (FULL,), "lm_cocktail": (LORA,)}
"""What is not run: `pretrain` learns no stream, the others refuse this kind of tuning."""

SUITE_SIZE = {
    "train.device": "cpu",
    "train.updates_per_step": 100,
    "train.batch_size": 16,
    "train.learning_rate": 3e-4,
    "evaluate.max_new_tokens": 24,
}
SMALL = {
    "train.updates_per_step": 12,
    "train.batch_size": 8,
    "suite.num_steps": 3,
    "suite.num_held_out": 2,
    "suite.num_train": 60,
    "suite.num_test": 4,
    "replay.memory_per_task": 6,
}
SMALL_METHOD = {
    "kpig": {"refresh": 5, "num_tasks": 2, "num_probes": 4},
    "dynainst": {"refresh": 5, "num_tasks": 2},
    "dynosaur": {"num_tasks": 2},
    "periodic_replay": {"every": 4},
    "kmeans_replay": {"clusters": 3},
    "adapt_inf": {"clusters": 3},
    "ewc": {"num_examples": 16},
    "ssr": {"num_demonstrations": 6, "num_prompts": 12, "max_new_tokens": 32, "clusters": 3},
    "radis": {"num_examples": 10, "max_new_tokens": 24},
}
"""Measurements fall inside a step, and there is more to choose from than is chosen."""

VARIANTS = {
    "kpig": (
        {"selection": "lowest"},
        {"selection": "proportional"},
        {"reference": "previous"},
    ),
    "ewc": ({"variant": "citb"}, {"variant": "running"}),
}
"""Rows beside the one of a method's own defaults, which for ewc is the third variant."""

ASK = """
import json, platform
from importlib.metadata import version
import kpig
from kpig.methods import METHODS
names = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors")
packages = {name: version(name) for name in names}
made_with = {"python": platform.python_version(), "platform": platform.platform(), **packages}
print(json.dumps({"file": kpig.__file__, "methods": list(METHODS), "made_with": made_with}))
"""
SHOWN = 3
"""Differences that a line of `compare` spells out, those of the earliest updates first."""


@dataclass(frozen=True)
class Row:
    """One run: a method, which weights it tunes, and settings of its own table."""

    method: str
    tuning: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As it stands in the record: "kpig lora selection=lowest"."""
        more = [f"{key}={value}" for key, value in self.settings.items()]
        return " ".join([self.method, self.tuning, *more])

    def config(self, seed: int, full: bool) -> str:
        """The TOML of the run."""
        own = ({} if full else SMALL_METHOD.get(self.method, {})) | self.settings
        found = {"seed": seed, "method.name": self.method} | SUITE_SIZE | ({} if full else SMALL)
        found |= {"model.adapter": "lora"} if self.tuning == LORA else {}
        found |= {f"method.{self.method}.{key}": value for key, value in own.items()}
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in found.items())


def main() -> None:
    """Do what the command line asks for."""
    given = parser().parse_args()
    if given.command == "record":
        record(given)
    else:
        sys.exit(1 if compare(read_record(given.one), read_record(given.other)) else 0)


def parser() -> argparse.ArgumentParser:
    """Of both commands."""
    raw = argparse.RawDescriptionHelpFormatter
    found = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = found.add_subparsers(dest="command", required=True)
    one = commands.add_parser("record", help="run every method and write down what came out")
    one.add_argument("--src", type=Path, required=True, help="the folder that holds kpig/")
    one.add_argument("--out", type=Path, required=True, help="the record, written after every run")
    one.add_argument("--work", type=Path, help="keep the run folders here; else they are deleted")
    one.add_argument("--methods", help="only these, with commas")
    one.add_argument("--full", action="store_true", help="the sizes of examples/suite.toml")
    one.add_argument("--seed", type=int, default=0)
    two = commands.add_parser("compare", help="say for each run what differs; exit code 1 if any")
    two.add_argument("one", type=Path)
    two.add_argument("other", type=Path)
    return found


def record(given: argparse.Namespace) -> None:
    """Run the rows one after the other; the record is whole after each."""
    src, asked = given.src.resolve(), given.methods.split(",") if given.methods else None
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with working_folder(given.work) as work:
        found = ask(src, work)
        chosen = rows(found["methods"], asked)
        result = {"full": given.full, "methods": asked, "made_with": found["made_with"], "runs": {}}
        for number, row in enumerate(chosen, 1):
            start = time.perf_counter()
            run = result["runs"][row.name] = measure(row, given, src, work)
            given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            seconds = time.perf_counter() - start
            end = f"refused: {run['refused']}" if "refused" in run else "recorded"
            print(f"{number}/{len(chosen)} {row.name}: {end} ({seconds:.1f} s)", flush=True)


@contextlib.contextmanager
def working_folder(kept: Path | None) -> Iterator[Path]:
    """An empty folder for the runs: the given one, or one that is deleted afterwards."""
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="same-numbers-") as folder:
            yield Path(folder).resolve()
        return
    kept.mkdir(parents=True, exist_ok=True)
    if any(kept.iterdir()):
        fail(f"--work {kept} is not empty, and runs would be mixed; give another folder")
    yield kept.resolve()


def ask(src: Path, work: Path) -> dict[str, Any]:
    """The names of the methods in `src`, and what they run with; no other kpig may answer."""
    process = python(src, work, "-c", ASK)
    if process.returncode:
        fail(f"--src {src}: kpig cannot be imported from there: {last_line(process.stderr)}")
    found = json.loads(process.stdout)
    if not Path(found["file"]).resolve().is_relative_to(src):
        fail(f"--src {src} holds no kpig, {found['file']} was imported; give the folder of kpig/")
    return found


def rows(methods: Sequence[str], asked: Sequence[str] | None) -> list[Row]:
    """Every run to record, in the order of the table of methods."""
    unknown = [name for name in asked or () if name not in methods]
    if unknown:
        fail(f"--methods: {', '.join(unknown)} not known; known: {', '.join(methods)}")
    return [
        Row(name, tuning, settings)
        for name in methods
        for tuning in (FULL, LORA)
        for settings in ({}, *VARIANTS.get(name, ()))
        if (asked is None or name in asked) and tuning not in LEFT_OUT.get(name, ())
    ]


def measure(row: Row, given: argparse.Namespace, src: Path, work: Path) -> dict[str, Any]:
    """What came out of one run, or the last line of its refusal."""
    folder = work / row.name.replace(" ", "-")
    config = work / f"{folder.name}.toml"
    config.write_text(row.config(given.seed, given.full), encoding="utf-8")
    process = python(src, work, "-m", "kpig", "run", str(config), "--out", str(folder))
    if process.returncode:
        return {"refused": last_line(process.stderr).replace(str(work), "WORK")}
    found = outcome(folder, work)
    if given.work is None:
        shutil.rmtree(folder)
    return found


def python(src: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own on one thread, whose kpig is that of `src`, away from any checkout."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(threads, "1") | {"PYTHONPATH": str(src)}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    options = {"cwd": work, "env": environment, "capture_output": True, "text": True}
    return subprocess.run([sys.executable, *arguments], check=False, **options)


def outcome(folder: Path, work: Path) -> dict[str, Any]:
    """The numbers of a finished run, in the order in which they come about."""
    scores = (folder / "scores.json").read_text(encoding="utf-8").replace(str(work), "WORK")
    last = max((folder / "steps").iterdir())
    tensors = sorted(last.rglob("*.safetensors"))
    predictions = sorted((folder / "steps").glob("*/predictions/*.jsonl"))
    return {
        "events": events(folder / "events.jsonl"),
        "scores": timeless(json.loads(scores)),
        "tensors": {path.relative_to(last).as_posix(): sha(path.read_bytes()) for path in tensors},
        "predictions": {f"{path.parts[-3]}/{path.stem}": columns(path) for path in predictions},
    }


def events(path: Path) -> dict[str, Any]:
    """The record of every update as "step/update"; others by what they tell, numbered."""
    found: dict[str, Any] = {}
    for event in map(timeless, read_lines(path) if path.exists() else ()):
        told = event.get("update") or next((key for key in event if key != "step"), "nothing")
        name, number = f"{event.get('step')}/{told}", 1
        while name in found:
            number += 1
            name = f"{event.get('step')}/{told} ({number})"
        found[name] = event
    return found


def columns(path: Path) -> dict[str, str]:
    """A sum for every key of the predictions over all lines, so that a new key is only added."""
    found: dict[str, list] = {}
    for number, line in enumerate(read_lines(path)):
        for key, value in flat(line).items():
            found.setdefault(key, []).append((number, value))
    return {key: sha(json.dumps(values).encode()) for key, values in found.items()}


def timeless(value: Any) -> Any:
    """The same without what a clock measured."""
    if isinstance(value, list):
        return [timeless(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kept = [key for key in value if key != "t" and not key.endswith("seconds")]
    return {key: timeless(value[key]) for key in kept}


def compare(one: dict[str, Any], other: dict[str, Any]) -> int:
    """Print a line for each run that both records were asked for; how many differ."""
    if one["full"] != other["full"]:
        fail("one record has the sizes of --full, the other has not; record both alike")
    for key, version in one["made_with"].items():
        if version != other["made_with"].get(key):
            print(f"note: {key} was {version}, then {other['made_with'].get(key)}")
    names = [name for name in one["runs"] | other["runs"] if asked_of_both(name, one, other)]
    if not names:
        fail("the records have no run in common")
    lines = {name: verdict(one["runs"].get(name), other["runs"].get(name)) for name in names}
    for name, (_, line) in lines.items():
        print(f"{name}: {line}")
    num_differ = sum(differs for differs, _ in lines.values())
    print(f"{len(names)} runs compared, {num_differ} differ")
    return num_differ


def asked_of_both(name: str, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether --methods left the run out of neither record."""
    asked = (one["methods"], other["methods"])
    return all(methods is None or name.split(" ")[0] in methods for methods in asked)


def verdict(one: dict[str, Any] | None, other: dict[str, Any] | None) -> tuple[bool, str]:
    """Whether a run differs, and what to say of it."""
    if one is None or other is None:
        return (True, "missing in the second") if other is None else (False, "added in the second")
    refused = [run.get("refused", "none") for run in (one, other)]
    if refused[0] != refused[1]:
        return True, f"the refusals differ: {refused[0]} / {refused[1]}"
    first, second = flat(one), flat(other)
    added = kinds([key for key in second if key not in first])
    more = f"; added: {some(added)}" if added else ""
    pairs = {key: (value, second.get(key, "missing")) for key, value in first.items()}
    differ = {key: pair for key, pair in pairs.items() if not is_same(*pair)}
    if differ:
        return True, difference(differ, len(pairs)) + more
    return False, "same" + (f", refused: {one['refused']}" if "refused" in one else "") + more


def difference(differ: dict[str, tuple[Any, Any]], count: int) -> str:
    """How many values differ, how far the scores are apart, and the first of them."""
    scores = [pair for key, pair in differ.items() if key.startswith("scores.")]
    gaps = [abs(a - b) for a, b in scores if is_number(a) and is_number(b)]
    apart = f", by up to {max(gaps):.3g}" if gaps else ""
    shown = [f"{key} {short(a)} / {short(b)}" for key, (a, b) in differ.items()]
    return f"{len(differ)} of {count} values differ ({len(scores)} scores{apart}): {some(shown)}"


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """All values below a value by their dotted names; a list's length is one of them."""
    if not isinstance(value, (dict, list)):
        return {name: value}
    inner = value if isinstance(value, dict) else dict(enumerate(value)) | {"length": len(value)}
    found: dict[str, Any] = {}
    for key, one in inner.items():
        found |= flat(one, f"{name}.{key}" if name else str(key))
    return found


def is_same(one: Any, other: Any) -> bool:
    """Equal to the bit as JSON tells it; not a number equals itself, 1 equals 1.0 but not true."""
    if is_number(one) and is_number(other):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def kinds(keys: Sequence[str]) -> list[str]:
    """Names in which only numbers differ, once."""
    return list(dict.fromkeys(re.sub(r"\d+", "N", key) for key in keys))


def some(texts: Sequence[str]) -> str:
    """The first texts, and how many more there are."""
    rest = len(texts) - SHOWN
    return "; ".join(texts[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def short(value: Any) -> str:
    """A value for a line: sums by their first digits."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text


def sha(content: bytes) -> str:
    """The SHA-256 sum."""
    return hashlib.sha256(content).hexdigest()


def last_line(text: str) -> str:
    """The last line that is not empty, which in a traceback or a refusal says what is wrong."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no word").strip()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A file of one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_record(path: Path) -> dict[str, Any]:
    """A record that `record` wrote."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("full", "methods", "made_with", "runs")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(f"{path}: no record of this script ({error}); make one with: record --src ... --out")


def fail(message: str) -> NoReturn:
    """Stop with words and exit code 2, as no comparison was made."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
