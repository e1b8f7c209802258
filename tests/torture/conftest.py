"""What the torture counts, and the sums at the end: the figures of docs/reliability.md."""

from collections import Counter

import pytest

TRIED = "tried "


@pytest.fixture
def tried(record_property):
    """tried("kills"): one more of them was tried."""
    return lambda what, count=1: record_property(TRIED + what, int(count))


def pytest_terminal_summary(terminalreporter):
    """Reports travel from the workers with their properties, so the sums are over all of them."""
    sums: Counter[str] = Counter()
    for report in (one for outcome in ("passed", "failed") for one in terminalreporter.getreports(outcome)):
        for name, count in report.user_properties:
            if name.startswith(TRIED):
                sums[name.removeprefix(TRIED)] += count
    if sums:
        terminalreporter.section("torture")
        for name, count in sorted(sums.items()):
            terminalreporter.line(f"{count:7d} {name}")
