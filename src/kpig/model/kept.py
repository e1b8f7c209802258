"""What a frozen model answered, kept: its hidden states at the response tokens of masked twins.

They are a memory of what need not be computed again, not of what was learned. A state holds only which twins
were read together. A resumed run reads them anew, in rows of the same shape, and so gets the same bits.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from kpig.model.batch import Batch
from kpig.model.learner import Learner, Weights
from kpig.model.packing import Pair, RowTokens

MEBI = 1 << 20
"""Bytes of a MiB."""


@dataclass(frozen=True)
class Group:
    """Twins that were read in one pass: (prompt, response) pairs of ids, and the hidden states of each.

    `row_tokens` as in `Learner.rows`. `states` are [n, D] each; none where a resumed run has yet to read
    them. They take `num_bytes`.
    """

    pairs: tuple[Pair, ...]
    row_tokens: RowTokens
    num_bytes: int
    states: tuple[Tensor, ...] = ()


Kept = dict[Pair, Group]
"""Each kept pair with its group."""


@dataclass(frozen=True)
class Reader:
    """Asks a frozen model for its hidden states, and keeps up to `most_bytes` of them; 0: none.

    `weights` as in `Learner.reference_logits`: always the same for one `Kept`. `row_tokens` as in the layout
    of the batches.
    """

    learner: Learner
    weights: Weights | None
    most_bytes: int
    row_tokens: RowTokens

    def states(self, batch: Batch, kept: Kept) -> Tensor:
        """[M, D] at the targets of the batch's twins; what is new joins `kept` as long as there is room.

        Who came first stays. Tokens count where a pass is made, but not where a resumed run makes it again.
        """
        assert batch.twins is not None
        if not self.most_bytes:
            return self.learner.reference_states(batch.twins, self.weights)
        pairs = _twins(self.learner, batch)
        for group in _groups(kept, pairs):
            if not group.states:
                with self.learner.ledger.unspent():
                    _keep(kept, self._read(group.pairs, group.row_tokens))
        found = kept
        if missing := tuple(dict.fromkeys(pair for pair in pairs if pair not in kept)):
            is_shared = batch.twins.attention_mask.dim() == 4
            group = self._read(missing, self.row_tokens if is_shared else 0)
            has_room = group.num_bytes + sum(one.num_bytes for one in _groups(kept, kept)) <= self.most_bytes
            found = kept if has_room else dict(kept)
            _keep(found, group)
        return torch.cat([found[pair].states[found[pair].pairs.index(pair)] for pair in pairs])

    def _read(self, pairs: tuple[Pair, ...], row_tokens: RowTokens) -> Group:
        states = self.learner.reference_states(self.learner.rows(pairs, row_tokens), self.weights)
        each = torch.split(states, [len(response) for _, response in pairs])
        return Group(pairs, row_tokens, states.numel() * states.element_size(), each)


def as_state(kept: Kept) -> dict[str, Any]:
    """Which pairs were read together and how, in JSON values for a method's state; {} for none."""
    groups = _groups(kept, kept)
    if not groups:
        return {}
    ids = [one for group in groups for pair in group.pairs for one in chain(*pair)]
    told = [
        {
            "row_tokens": group.row_tokens,
            "num_bytes": group.num_bytes,
            "lengths": [[len(prompt), len(response)] for prompt, response in group.pairs],
        }
        for group in groups
    ]
    return {"groups": told, "ids": ids}


def from_state(state: Mapping[str, Any]) -> Kept:
    """What `as_state` returned, read back; the hidden states are not in it."""
    kept: Kept = {}
    ids = iter(state.get("ids", ()))
    for told in state.get("groups", ()):
        pairs = tuple((_taken(ids, prompt), _taken(ids, response)) for prompt, response in told["lengths"])
        _keep(kept, Group(pairs, told["row_tokens"], told["num_bytes"]))
    return kept


def _taken(ids: Iterator[int], count: int) -> tuple[int, ...]:
    return tuple(islice(ids, count))


def _keep(kept: Kept, group: Group) -> None:
    kept.update(dict.fromkeys(group.pairs, group))


def _groups(kept: Kept, pairs: Iterable[Pair]) -> list[Group]:
    """The groups of those pairs that are kept, each once."""
    return list({id(kept[pair]): kept[pair] for pair in pairs if pair in kept}.values())


def _twins(learner: Learner, batch: Batch) -> list[Pair]:
    """The pairs of ids of a batch's masked twins, in order."""
    encoded = (learner.encoder.encode(batch.examples[number]) for number in batch.with_twins)
    return [(one.masked_prompt, one.response) for one in encoded if one.masked_prompt is not None]
