"""Section `lengths`: what a pass over rows of other numbers and lengths takes."""

import argparse
from collections.abc import Mapping

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sections.table import in_turn

SHAPES = ((4, 128), (8, 128), (16, 128), (4, 256), (2, 512), (1, 1024))
"""Rows and their length: how many tokens a pass takes, and how long rows may be."""


def show(given: argparse.Namespace) -> None:
    """A forward and backward pass over rows of other numbers and lengths, of a model of the first 6 layers.

    What `kpig.model.portions` has of them; masks as shared rows have them.
    """
    shape = AutoConfig.from_pretrained(given.model)
    shape.num_hidden_layers = 6
    model = AutoModelForCausalLM.from_config(shape).train()

    def arm(num_rows: int, length: int, precision: str) -> Mapping[str, float]:
        ids = torch.randint(3, shape.vocab_size, (num_rows, length))
        mask = torch.ones(num_rows, 1, length, length, dtype=torch.bool).tril()
        mask[:, :, length // 2 :, 5:10] = False
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        loss = hidden[:, :8].float().pow(2).mean()
        loss.backward()
        model.zero_grad(set_to_none=False)
        return {"computed": num_rows * length, "loss": float(loss.detach())}

    for precision in ("bfloat16", "float32"):
        arms = {
            f"{rows} x {length}": lambda rows=rows, length=length, precision=precision: arm(
                rows, length, precision
            )
            for rows, length in SHAPES
        }
        in_turn(f"Rows x length, 6 layers, {precision}", arms, given.rounds)
