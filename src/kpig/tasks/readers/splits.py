"""Names of the parts of a data set: which are trained on, which tested, which judge the training."""

import re
from collections.abc import Sequence

from kpig.tasks.drafts import VALIDATION

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "train_sft": "train",
    "test": "test",
    "testing": "test",
    "test_sft": "test",
    VALIDATION: VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "eval": VALIDATION,
    "evaluation": VALIDATION,
}
"""What the names that people use mean here."""

SHARD = re.compile(r"-\d+-of-\d+$")


def split_files(names: Sequence[str]) -> dict[str, str]:
    """The splits that the names of a folder's files stand for, without endings: all of them, or none.

    A shard's number is no part of the name. Only where a training split is among several are they splits.
    """
    found = {name: SHARD.sub("", name) for name in names}
    kinds = {SPLIT_NAMES.get(split) for split in found.values()}
    return found if None not in kinds and "train" in kinds and len(kinds) > 1 else {}
