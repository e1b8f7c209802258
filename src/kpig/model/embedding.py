"""One vector for each prompt: the mean of a model's last hidden states over its tokens.

Shape letters: P prompts, D hidden size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kpig import ranks
from kpig.model import internals, portions
from kpig.model.division import divided
from kpig.model.ledger import Ledger
from kpig.model.packing import Ids
from kpig.model.rows import pad


@torch.no_grad()
def means(model: Any, ledger: Ledger, prompts: Sequence[Ids], pad_id: int, max_tokens: int) -> Tensor:
    """[P, D] in float32, from a transformers model in evaluation mode; `max_tokens` padded go side by side.

    The tokens count as forward tokens in `ledger`. The same bits in any number of processes on equal devices:
    choices by distance hang on them.
    """
    device = next(model.parameters()).device
    lengths = [len(prompt) for prompt in prompts]
    groups = portions.token_batches(lengths, max_tokens)

    def embedded(own: list[int]) -> dict[int, Tensor]:
        vectors: dict[int, Tensor] = {}
        for group in (groups[number] for number in own):
            rows = pad([((), prompts[index]) for index in group], pad_id).to(device)
            hidden = internals.last_hidden(model, rows).float()
            mask = rows.attention_mask.unsqueeze(-1)
            vectors |= zip(group, (hidden * mask).sum(1) / mask.sum(1), strict=True)
            ledger.forward_tokens += rows.num_tokens
            ledger.add_computed(rows.num_computed)
        return vectors

    sizes = [sum(lengths[index] for index in group) for group in groups]
    return torch.stack(ranks.in_order(divided(ledger, sizes, embedded)))
