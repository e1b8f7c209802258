"""The sections of benchmarks/speed.py, a file each, and what they share."""
