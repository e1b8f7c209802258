"""Time and memory of one update with response positions gathered before the vocabulary projection.

    python benchmarks/gather.py

Against projecting every position and picking afterwards, in turn, in one process. Prints the medians and
the ratio pair by pair; the two losses must agree.
"""

import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kpig.config import ModelSection
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.model.loading import load
from kpig.model.objective import cross_entropy_sum
from kpig.model.rows import pad

NUM_ROWS, PROMPT, RESPONSE, VOCABULARY, PAIRS = 16, 200, 8, 32000, 7


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 8}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=True, **shape))
    tokenizer = load(ModelSection()).tokenizer
    learner = Learner(model, tokenizer, Encoder(tokenizer, 1024))
    ids = torch.randint(2, VOCABULARY, (NUM_ROWS, PROMPT + RESPONSE)).tolist()
    rows = pad([(row[:PROMPT], row[PROMPT:]) for row in ids], learner.pad_id)

    def gathered() -> torch.Tensor:
        return cross_entropy_sum(learner.response_logits(rows), rows.target)

    def projected() -> torch.Tensor:
        logits = model(input_ids=rows.input_ids, attention_mask=rows.attention_mask, use_cache=False).logits
        return cross_entropy_sum(logits[rows.row, rows.column], rows.target)

    pairs = [(seconds(gathered), seconds(projected)) for _ in range(PAIRS + 1)][1:]
    difference = abs(float(gathered()) - float(projected()))
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(b / a for a, b in pairs)
    print(
        f"gathered {first:.3f} s, projected {second:.3f} s per forward and backward, "
        f"losses differ by {difference:.1e}"
    )
    print(
        f"ratio projected / gathered: median {statistics.median(ratios):.2f}, "
        f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    )
    print(
        f"logits: {4 * NUM_ROWS * RESPONSE * VOCABULARY / 2**20:.0f} MiB, "
        f"not {4 * NUM_ROWS * (PROMPT + RESPONSE) * VOCABULARY / 2**20:.0f} MiB"
    )


def seconds(loss) -> float:
    """One forward and backward pass."""
    start = time.perf_counter()
    loss().backward()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
