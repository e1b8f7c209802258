"""The page of a run in a real browser: it opens quietly, explores by mouse and keys, and is not fooled."""

import json
import re

import pytest

from browser.contrast import faint_texts
from browser.visits import HOSTILE, THEMES, WIDTHS
from kpig import report
from kpig.report import explorer
from test_report import write_run

NAMES = "[...document.querySelectorAll('.item .name')].map((one) => one.textContent)"
"""What the rows of the list in sight are called."""

LEARNED = (("a", "b"), ("c",), ("d", "e"))


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("page") / "run", learned=LEARNED)
    events = [
        {
            "t": 1000.0 + update,
            "step": step,
            "update": update,
            "loss": 2.0 / update + step,
            "cross_entropy": 1.5 / update + step,
            "divergence": 0.1,
            "gradient_norm": 3.0 / update,
            "learning_rate": 1e-3 / update,
            "train_tokens": 100 + update,
            "gain": {"a": 0.5, "b": 0.1 * update},
            **({"replayed_tasks": {"a": 3, "b": 5}} if step > 1 else {}),
        }
        for step in (1, 2, 3)
        for update in range(1, 9)
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return report.write([report.read_run(folder)], folder / "page")


def opened(visit, path, *how):
    one = visit(path, *how)
    one.page.wait_for_selector("body[data-shown]")
    return one


def seen_whole(one):
    """Scroll through the page until every plot is drawn."""
    height = one.page.evaluate("document.documentElement.scrollHeight")
    for place in range(0, height, 400):
        one.page.evaluate(f"scrollTo(0, {place})")
        one.page.wait_for_timeout(30)
    one.until("[...document.querySelectorAll('.plot')].every((one) => one.dataset.drawn)")
    one.page.evaluate("scrollTo(0, 0)")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_the_page_opens_quietly_and_fits_the_window_in_both_themes(visit, run_page, width, theme):
    one = opened(visit, run_page, width, theme)
    one.page.click("#map .heat >> nth=4")
    one.page.click("#predictions .item >> nth=1")
    seen_whole(one)
    assert one.overflow() <= 0
    assert faint_texts(one.page) == []
    assert one.page.evaluate("document.querySelectorAll('.plot').length") >= 8
    one.picture(f"run-{width}-{theme}")


def test_the_map_shows_scores_differences_and_the_curves_of_what_is_chosen(visit, run_page):
    one = opened(visit, run_page)
    page = one.page
    cell = "#map .heat[aria-label^='a, after step 2']"
    assert page.inner_text(cell) == "100.0"
    page.click("text=against untuned")
    assert page.inner_text(cell) == "+66.7"
    page.click("text=against the step before")
    assert page.inner_text(cell) == "+33.3"
    page.click("#map .choice button:has-text('Gain')")
    page.click("text=as they are")
    page.click(cell)
    assert page.inner_text("#map .panel h3").startswith("a ")
    one.until("document.querySelectorAll('#map .panel [data-drawn]').length === 4")
    page.click("text=See its answers after step 2")
    found = page.inner_text("#predictions .count")
    assert re.fullmatch(r"6 of \d+ answers", found)
    assert page.evaluate(
        "[...document.querySelectorAll('.item .name')].every((one) => one.textContent.startsWith('a '))"
    )


def test_the_map_is_walked_by_arrow_keys_and_chosen_by_enter(visit, run_page):
    page = opened(visit, run_page).page
    page.focus("#map .heat[tabindex='0']")
    start = page.evaluate("document.activeElement.getAttribute('aria-label')")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == start
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.inner_text("#map .panel h3").startswith("a ")
    assert page.evaluate("document.querySelectorAll('#map .heat[tabindex=\"0\"]').length") == 1


FILTERS = {
    "result": {"right": "✓", "wrong": "✗", "nothing": "✗"},
    "change": {"better": "▲"},
}


def test_filters_keep_what_they_say_and_reset_brings_all_back(visit, run_page):
    one = opened(visit, run_page)
    page = one.page
    page.click("text=Reset")
    total = int(re.search(r"\d+", page.inner_text("#predictions .count"))[0])
    for name, values in FILTERS.items():
        for value, mark in values.items():
            page.select_option(f"[data-filter='{name}']", value)
            found = page.inner_text("#predictions .count")
            assert 0 < int(re.match(r"\d+", found)[0]) < total
            assert page.evaluate(
                f"[...document.querySelectorAll('.item')].every((one) => one.textContent.includes('{mark}'))"
            )
            page.select_option(f"[data-filter='{name}']", "")
    page.select_option("[data-filter='change']", "worse")
    assert page.inner_text("#predictions .count").startswith("0 ")
    assert "No answer fits" in page.inner_text("#predictions .list")
    page.click("text=Reset")
    page.fill("[data-filter='search']", "C-1")
    one.until("/^\\d+ of/.test(document.querySelector('#predictions .count').textContent)")
    assert page.evaluate(
        "[...document.querySelectorAll('.item .name')].every((one) => one.textContent === 'c · c-1')"
    )
    page.select_option("[data-filter='rule']", "out_of_scope")
    assert "broken" in page.inner_text(".item")


def test_the_chosen_answer_is_shown_whole_with_every_step_of_it(visit, run_page):
    page = opened(visit, run_page).page
    page.select_option("[data-filter='task']", "0")
    page.select_option("[data-filter='step']", "0")
    page.focus("#predictions .list")
    page.keyboard.press("ArrowDown")
    shown = page.inner_text("#predictions .one")
    assert "a · a-1" in shown and "Say the word." in shown and "cow" in shown and "pig" in shown
    assert "without the key parts" in shown and "Reading: listens" in shown
    page.click("#predictions .steps button:has-text('step 3')")
    assert "✓ a · a-1" in page.inner_text("#predictions .one h3")


def test_the_keyboard_walks_the_list_to_its_end(visit, run_page):
    page = opened(visit, run_page).page
    page.click("text=Reset")
    page.focus("#predictions .list")
    page.keyboard.press("End")
    last = page.get_attribute("#predictions .list", "aria-activedescendant")
    count = int(re.search(r"\d+", page.inner_text("#predictions .count"))[0])
    assert last == f"answer-{count - 1}"
    assert page.get_attribute(f"#{last}", "aria-selected") == "true"


def test_tables_sort_and_scroll_on_a_phone_with_a_cue(visit, run_page):
    one = opened(visit, run_page, "narrow")
    one.page.wait_for_selector("#tasks table[data-sorted]")
    names = "[...document.querySelectorAll('#tasks tbody th')].map((one) => one.textContent)"
    before = one.page.evaluate(names)
    for order in (sorted(before), sorted(before, reverse=True)):
        one.page.click("#tasks thead th:nth-child(1)")
        one.until(f"{names}.join() === '{','.join(order)}'")
    assert one.page.is_visible("#comparison + .more")
    assert one.page.get_attribute("#comparison", "tabindex") == "0"


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    """A run whose tasks are called, and whose prompts, answers and references are, what would do harm."""
    words = [one.replace("\ud800", "\ufffd") for one in HOSTILE]
    said = {name: "\n".join(words) for name in ("prompt", "response", "masked_response")}
    names = {"learned": (tuple(words), ("b",)), "held_out": tuple(f"held {one}" for one in words)}
    folder = tmp_path_factory.mktemp("hostile")
    more = {"references": tuple(words), "violations": tuple(words)}
    run = report.read_run(write_run(folder / "run", method=words[0], **names, **said, **more))
    return report.write([run], folder / "page")


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_stays_text_wherever_it_is_shown(visit, hostile_page, width):
    one = opened(visit, hostile_page, width)
    seen_whole(one)
    page = one.page
    for place in range(1, 12):
        page.click(f"#map tbody tr:nth-child({place}) .heat >> nth=0")
    page.click("#predictions .item")
    assert one.overflow() <= 0
    assert (
        page.evaluate("document.querySelectorAll('img, a[href^=\"javascript\"], #content script').length")
        == 0
    )
    shown = page.inner_text("#predictions .one")
    assert "<script>document.title='run'</script>" in shown and "{{ 7*7 }} ${7*7} `x`" in shown
    assert not set("\u202e\x00\x1b\u2066\u061c") & set(page.inner_text("body"))
    one.picture(f"hostile-{width}")


def test_two_runs_share_a_page_and_one_is_picked(visit, tmp_path):
    runs = [report.read_run(write_run(tmp_path / name, name, learned=LEARNED)) for name in ("kpig", "replay")]
    one = opened(visit, report.write(runs, tmp_path / "page"))
    one.page.select_option("#run", label="replay")
    one.page.wait_for_selector("body[data-shown='run-1']")
    assert one.overflow() <= 0
    one.picture("two-runs")


def test_thousands_of_answers_are_listed_of_which_only_those_in_sight_are_made(visit, tmp_path, monkeypatch):
    steps = [tuple(f"task {step} {n}" for n in range(15)) for step in range(4)]
    run = report.read_run(write_run(tmp_path / "run", learned=steps))
    one = opened(visit, report.write([run], tmp_path / "page"))
    page = one.page
    page.click("text=Reset")
    count = int(page.inner_text("#predictions .count").split()[0].replace(",", ""))
    assert count > 1500
    page.focus("#predictions .list")
    for key in ("End", "PageUp", "Home", "PageDown"):
        page.keyboard.press(key)
        assert 0 < page.evaluate("document.querySelectorAll('.item').length") < 60
    monkeypatch.setattr(explorer, "MOST_ANSWERS", 800)
    sampled = opened(visit, report.write([run], tmp_path / "sampled")).page
    assert "Too many for one page" in sampled.inner_text("#predictions")
    sampled.click("text=Reset")
    assert 300 < int(sampled.inner_text("#predictions .count").split()[0].replace(",", "")) <= 800
    assert sampled.evaluate("document.querySelector(\"[data-filter='task']\").options.length") == 1 + 60 + 1
