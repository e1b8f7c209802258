"""The shell of pages: what they carry comes out as it went in, the policy fits, colours can be read."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpig import pages
from kpig.errors import KpigError
from kpig.methods import METHODS
from kpig.pages import libraries, packing
from kpig.pages.policy import policy
from kpig.rendering import visible
from kpig.report import colours

STYLE = Path(pages.__file__).parents[1] / "templates/pages/base.css"
LETTERS = re.compile(r"[A-Za-z0-9+/=]*")


def unpacked(letters):
    return gzip.decompress(base64.b64decode(letters)).decode()


class Texts(HTMLParser):
    """The texts of the scripts that run and of the style sheets, and what the policy says."""

    def __init__(self, page):
        super().__init__()
        self.scripts, self.styles, self.blocks, self.policy, self.place = [], [], [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        kinds = {"style": self.styles, "script": self.blocks if "type" in attributes else self.scripts}
        self.place = kinds.get(tag)

    def handle_endtag(self, tag):
        self.place = None

    def handle_data(self, data):
        if self.place is not None:
            self.place.append(data)


def source(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def directive(found, name):
    return next(one for one in found.split("; ") if one.split()[0] == name).split()[1:]


VALUES = st.none() | st.booleans() | st.integers() | st.text()


def shown(value):
    if isinstance(value, list):
        return [shown(one) for one in value]
    return visible(value) if isinstance(value, str) else value


@given(st.recursive(VALUES, lambda one: st.lists(one, max_size=4)))
def test_packed_data_come_out_as_they_went_in_made_visible(value):
    letters = packing.packed_data(value)
    assert LETTERS.fullmatch(letters)
    assert json.loads(unpacked(letters)) == shown(value)
    assert letters == packing.packed_data(value)


def test_a_number_that_is_not_finite_becomes_null():
    assert json.loads(unpacked(packing.packed_data({"a": [float("nan"), float("-inf"), 0.5]}))) == {
        "a": [None, None, 0.5]
    }


def test_the_policy_names_every_script_and_style_of_the_page_and_nothing_else():
    page = pages.render("pages/base.html.j2", {}, data={"x": "</script>"})
    found = Texts(page)
    codes = [*found.scripts, libraries.plotly().code, libraries.tables().code]
    assert directive(found.policy, "default-src") == ["'none'"]
    assert sorted(directive(found.policy, "script-src")) == sorted(map(source, codes))
    assert set(directive(found.policy, "style-src")) == {source(""), *map(source, found.styles)}
    assert "unsafe-eval" not in found.policy and "http" not in found.policy
    assert all(LETTERS.fullmatch(block) for block in found.blocks) and len(found.blocks) == 3


def test_what_a_library_carries_is_the_code_that_the_policy_allows():
    for one in (libraries.plotly(), libraries.tables()):
        assert unpacked(one.content) == one.code
        assert source(one.code) in policy([one.code], [])
    assert "export{" not in libraries.tables().code[-200:]


def test_a_page_is_less_than_half_of_plotly():
    assert len(pages.render("pages/base.html.j2", {})) < 2_400_000


def test_a_page_without_libraries_is_small():
    assert len(pages.render("pages/base.html.j2", {}, libraries=())) < 40_000


def test_a_library_that_is_not_whole_is_told_with_what_to_do():
    with pytest.raises(KpigError, match="pip install --upgrade plotly"):
        libraries._read("plotly", "no/such/file.js")
    with pytest.raises(KpigError, match=r"itables==2"):
        libraries._as_global("var a = 1; export {a as other}", "default", "DataTable")


def luminance(colour):
    def channel(one):
        return one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4

    red, green, blue = (channel(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """WCAG 2.2, contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


COLOURS = {
    name: pair
    for name, *pair in re.findall(
        r"--(\w+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", STYLE.read_text(encoding="utf-8")
    )
}
KINDS = ("operation", "label_set", "format", "length", "content", "reference")


@pytest.mark.parametrize("theme", (0, 1), ids=("light", "dark"))
@pytest.mark.parametrize("ink", ("text", "soft", "accent", "good", "bad", "warn"))
@pytest.mark.parametrize("ground", ("page", "card", "tint"))
def test_every_ink_can_be_read_on_every_ground(theme, ink, ground):
    assert contrast(COLOURS[ink][theme], COLOURS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", (0, 1), ids=("light", "dark"))
def test_key_parts_and_the_edges_of_controls_can_be_seen(theme):
    assert all(contrast(COLOURS["text"][theme], COLOURS[kind][theme]) >= 4.5 for kind in KINDS)
    assert contrast(COLOURS["edge"][theme], COLOURS["card"][theme]) >= 3
    assert contrast(COLOURS["card"][theme], COLOURS["accent"][theme]) >= 4.5


GROUNDS = [shade for name in ("page", "card", "tint") for shade in COLOURS[name]]


@pytest.mark.parametrize("colour", (*colours.COLOURS, colours.UNTUNED_COLOUR))
def test_a_line_in_a_methods_colour_can_be_seen_in_both_themes(colour):
    assert min(contrast(colour, ground) for ground in GROUNDS) >= 3


def test_a_method_has_one_colour_and_no_two_look_alike():
    looks = {name: colours.look(name) for name in (*METHODS, "mine:Own")}
    assert looks == {name: colours.look(name) for name in reversed(looks)}
    assert len({looks[name] for name in METHODS if name not in colours.BOUNDS}) == len(METHODS) - 2
    assert len({looks[name].colour for name in (*colours.FIRST, "init")}) == 4
    assert colours.look("replay", 1).colour == looks["replay"].colour
    assert colours.look("replay", 1) != looks["replay"]
