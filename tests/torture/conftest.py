"""What the torture counts; the sums are told at the end (`tests/conftest.py`)."""

import pytest


@pytest.fixture
def tried(record_property):
    """tried("kills"): one more of them was tried."""
    return lambda what, count=1: record_property(f"tried {what}", int(count))
