"""The kinds of violation that records and metrics count."""

KINDS = ("out_of_scope", "wrong_format", "wrong_length", "missing_content", "degenerate")
OUT_OF_SCOPE, WRONG_FORMAT, WRONG_LENGTH, MISSING_CONTENT, DEGENERATE = KINDS

UNDECIDED = "undecided"
"""Stands among the kinds of a response where a constraint got no verdict in its time: no violation."""
