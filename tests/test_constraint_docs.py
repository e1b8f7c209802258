"""docs/constraints.md: every type has an example, and every example does what it says."""

import json
import re
from pathlib import Path

import pytest

from kpig.tasks.constraints import CONSTRAINTS, parse, satisfied
from kpig.tasks.constraints.items import LISTS

PAGE = (Path(__file__).parents[1] / "docs" / "constraints.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"(?m)^### (\w+)\n\n(.*?)\n\n```json\n(.*?)\n```", PAGE, re.DOTALL)


def test_every_type_is_documented_once_with_an_example():
    assert [name for name, _, _ in EXAMPLES] == re.findall(r"(?m)^### (\w+)$", PAGE)
    assert sorted(name for name, _, _ in EXAMPLES) == sorted(CONSTRAINTS)


@pytest.mark.parametrize(("name", "text", "example"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_the_example_is_met_and_broken_as_it_says_and_the_text_names_the_parameters(name, text, example):
    stated = json.loads(example)
    assert stated["constraint"]["type"] == name
    constraint = parse(stated["constraint"], "docs/constraints.md")
    given = stated.get("input", "")
    assert all(satisfied(constraint, given, response) is True for response in stated["meets"])
    assert all(satisfied(constraint, given, response) is False for response in stated["breaks"])
    assert stated["meets"] and stated["breaks"]
    kept = CONSTRAINTS[name]
    items = {"item_separator", "list"} if name in ("max_items", "min_items", "count") else set()
    absent = {one for one in {*kept.required, *kept.optional} - items if f"`{one}`" not in text}
    assert absent == set(), "parameters that the text does not name"


def test_the_kinds_of_list_are_named():
    assert all(f"`{kind}`" in PAGE for kind in LISTS)
