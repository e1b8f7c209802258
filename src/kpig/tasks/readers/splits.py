"""Names of the parts of a data set: which are trained on, which tested, which only where nothing else is."""

VALIDATION = "validation"
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "train_sft": "train",
    "test": "test",
    "testing": "test",
    "test_sft": "test",
    "eval": "test",
    "evaluation": "test",
    VALIDATION: VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
}
"""What the names that people use mean here."""
