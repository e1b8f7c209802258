"""Continual instruction tuning with key-part information gain."""

__version__ = "0.1.0"
