"""Answers to test examples, judged and counted: predictions, scores, and their files."""
