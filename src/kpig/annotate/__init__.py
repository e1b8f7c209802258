"""Key parts found without a model, and how far two annotations of one instruction agree."""

from kpig.annotate.agreement import Agreement, compare, macro
from kpig.annotate.rules import find

__all__ = ["Agreement", "compare", "find", "macro"]
