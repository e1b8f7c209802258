"""The page of a comparison in a real browser: choices, sorting, keyboard, contrast, hostile text."""

import itertools

import pytest

from browser.contrast import faint_texts
from browser.visits import HOSTILE, THEMES, WIDTHS
from kpig.compare.comparison import compare
from kpig.compare.page import write
from test_compare import write_run
from test_compare_page import CELLS, TASKS, answer, pattern, with_answers

METHODS = ("kpig", "replay", "sequential")
COSTS = {"kpig": 12_000, "replay": 6_000, "sequential": 4_000}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three methods over six runs each: kpig is better on sort, replay on copy."""
    folder = tmp_path_factory.mktemp("compared")
    for method, (place, (seed, order)) in itertools.product(METHODS, enumerate(CELLS)):
        p_seen = {"kpig": 60.0, "replay": 9.0, "sequential": 100.0}[method] + seed / 2
        run = write_run(folder / f"{method}{place}", method, seed, order, p_seen, p_seen / 2)
        better = {"kpig": "sort", "replay": "copy"}.get(method)
        rows = [answer(t, n, t == better or pattern(method, seed, n)) for t in TASKS for n in range(8)]
        with_answers(run, rows, cost={"train_tokens": COSTS[method], "forward_tokens": 0})
    comparison = compare([folder])
    return comparison, write(comparison, folder / "out")


@pytest.fixture
def opened(visit, made):
    def ready(width="wide", theme="light"):
        one = visit(made[1], width, theme)
        one.until("document.documentElement.dataset.ready === 'yes'")
        return one

    return ready


def draw_all(one):
    """Bring every plot near the screen, one after the other."""
    for number in range(one.page.evaluate("document.querySelectorAll('.plot').length")):
        plot = f"document.querySelectorAll('.plot')[{number}]"
        one.page.evaluate(f"{plot}.scrollIntoView()")
        one.until(f"{plot}.dataset.drawn", 60)


def texts(page, selector):
    return page.evaluate(f"[...document.querySelectorAll({selector!r})].map((one) => one.innerText.trim())")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_the_page_fits_the_window_and_draws_every_plot(opened, width, theme):
    one = opened(width, theme)
    assert one.overflow() <= 0
    draw_all(one)
    assert one.overflow() <= 0
    one.page.evaluate("scrollTo(0, 0)")
    one.picture(f"compare-{width}-{theme}")


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_can_be_read(opened, theme):
    assert faint_texts(opened(theme=theme).page) == []


def test_everything_that_acts_has_a_name_and_is_reached_by_tab(opened):
    page = opened().page
    nameless = """[...document.querySelectorAll("button, select, input")].filter((one) =>
      one.getClientRects().length && !one.innerText.trim() && !one.labels?.length && !one.ariaLabel
    ).map((one) => one.outerHTML)"""
    assert page.evaluate(nameless) == []
    page.focus("#pair-b")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pair-cell"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('th') !== null")


def test_the_cost_and_the_score_of_the_front_are_chosen(opened):
    one = opened()
    one.page.evaluate("document.getElementById('cost-plot').scrollIntoView()")
    one.until("document.getElementById('cost-plot').dataset.drawn")
    title = "document.querySelector('#cost-plot .xtitle').textContent"
    assert one.page.evaluate(title) == "computing, tokens"
    one.page.select_option("#cost-kind", "updates")
    one.until(f"{title} === 'updates'")
    one.page.select_option("#cost-score", "v_seen")
    one.until("document.querySelector('#cost-plot .ytitle').textContent === 'V seen, lower is better'")


def test_a_table_sorts_by_its_numbers_and_not_by_their_letters(opened):
    one = opened()
    one.page.wait_for_selector("#scores table[data-sorted]")
    one.page.click("#scores thead th:nth-child(2)")
    column = "#scores tbody td:nth-child(2)"
    one.until(f"document.querySelector('{column}').innerText.startsWith('9.5')")
    assert [text.split()[0] for text in texts(one.page, column)] == ["9.5", "60.5", "100.5"]
    assert texts(one.page, "#scores tbody tr.marked th") == ["kpig"]


def pick(page, a, b, cell=None):
    page.select_option("#pair-a", label=a)
    page.select_option("#pair-b", label=b)
    if cell is not None:
        page.select_option("#pair-cell", label=cell)


def cells(page, place):
    """The texts of a table's cells, row by row."""
    rows = f"[...document.querySelectorAll('{place} tbody tr')]"
    return page.evaluate(f"{rows}.map((row) => [...row.cells].map((one) => one.innerText))")


def summary(page):
    return {row[0][:-2]: row[1:] for row in cells(page, "#pair-summary")}


def test_any_two_methods_stand_against_each_other_over_all_runs_or_one(opened):
    page = opened().page
    pick(page, "kpig", "replay")
    found = summary(page)
    assert found["P seen"] == ["60.5", "9.5", "+51.0\n[+51.0, +51.0]", "0.031", "6"]
    assert page.evaluate("document.querySelector('#pair-summary td.good') !== null")
    page.click("#pair-swap")
    assert summary(page)["P seen"] == ["9.5", "60.5", "-51.0\n[-51.0, -51.0]", "0.031", "6"]
    pick(page, "kpig", "replay", "seed 2, order given")
    assert summary(page)["P seen"] == ["61.0", "10.0", "+51.0", "–", "1"]


def ahead(task, one, other):
    """In how many examples a method is right and another wrong, over all runs."""

    def right(method, seed, number):
        return task == {"kpig": "sort", "replay": "copy"}.get(method) or pattern(method, seed, number)

    return sum(
        right(one, seed, n) and not right(other, seed, n)
        for (seed, _), n in itertools.product(CELLS, range(8))
    )


def test_wins_and_losses_by_task_are_those_of_the_examples(opened):
    page = opened().page
    pick(page, "kpig", "replay")
    rows = cells(page, "#pair-tasks")
    assert [row[0].split("\n")[0] for row in rows] == ["sort", "count", "copy"]
    for name, *_, examples in rows:
        task = name.split("\n")[0]
        wins, losses = ahead(task, "kpig", "replay"), ahead(task, "replay", "kpig")
        assert examples.split("\n") == [f"{wins} : {losses}", f"{48 - wins - losses} even"]
    assert page.inner_text("#pair-tasks p").startswith("A is ahead on 1 of 3 tasks, B on 1")


def test_a_task_leads_to_its_answers_side_by_side_by_keyboard_too(opened):
    one = opened()
    page = one.page
    pick(page, "kpig", "replay")
    page.focus("#pair-tasks tbody tr:nth-child(3) .task")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "answers-task"
    assert page.evaluate("document.getElementById('answers-task').selectedOptions[0].text") == "copy"
    count = ahead("copy", "kpig", "replay") + ahead("copy", "replay", "kpig")
    assert page.inner_text("#answers-count") == f"{count} answers"
    page.select_option("#answers-outcome", "b")
    assert page.inner_text("#answers-count") == f"{ahead('copy', 'replay', 'kpig')} answers"
    assert set(texts(page, ".answer-card .side:first-child .said")) == {"no"}
    assert set(texts(page, ".answer-card .side:last-child .said")) == {"yes"}
    assert "breaks: out of scope" in page.inner_text(".answer-card .side:first-child")
    page.select_option("#answers-outcome", "all")
    page.fill("#answers-search", "input: 3")
    assert page.inner_text("#answers-count") == "6 answers"
    one.picture("compare-answers", full=False)


def test_answers_are_paged(opened):
    page = opened().page
    page.select_option("#answers-outcome", "all")
    assert page.inner_text("#answers-page") == "1 to 10 of 144" and page.is_disabled("#answers-back")
    page.click("#answers-next")
    assert page.inner_text("#answers-page") == "11 to 20 of 144"
    page.select_option("#answers-task", label="sort")
    assert page.inner_text("#answers-page") == "1 to 10 of 48"


def test_a_narrow_window_says_that_a_table_goes_on(opened):
    one = opened("narrow")
    one.until("document.querySelector('#scores .more.shown') !== null")
    assert one.page.evaluate("document.querySelector('#scores .scroll').tabIndex") == 0
    one.page.focus("#scores .scroll")
    for _ in range(20):
        one.page.keyboard.press("ArrowRight")
    one.until("document.querySelector('#scores .scroll').scrollLeft > 0")
    one.page.evaluate("document.getElementById('pair').scrollIntoView()")
    one.picture("compare-pair-narrow", full=False)


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_stays_text_wherever_it_is_shown(visit, tmp_path, width):
    for seed, name in itertools.product((0, 1), (f"m:{HOSTILE[0]}", f"m:{HOSTILE[1]}")):
        run = write_run(tmp_path / f"runs/{seed}{len(name)}", name, seed, environment={"device": HOSTILE[2]})
        rows = [
            answer(
                f"task {text}",
                n,
                (seed + n + len(name)) % 2,
                prompt=text,
                response=f"{n} {text}",
                references=(text,),
            )
            for n, text in enumerate(text.encode("utf-8", "replace").decode() for text in HOSTILE)
        ]
        with_answers(run, rows)
    one = visit(write(compare([tmp_path / "runs"]), tmp_path / "out"), width)
    one.until("document.documentElement.dataset.ready === 'yes'")
    page = one.page
    assert one.overflow() <= 0
    page.select_option("#answers-outcome", "all")
    tags = "#content script, #content img, #content a[onclick], #content [onerror], #pair a, #answers a"
    assert page.evaluate(f"document.querySelectorAll({tags!r}).length") == 0
    shown = "\n".join(texts(page, ".answer-card .said"))
    assert "<script>document.title='run'</script>" in shown and "onerror" in shown
    assert "\u202e" not in page.content() and "\x00" not in page.content()
    draw_all(one)
    assert page.evaluate("document.querySelectorAll('svg script, svg image, svg a').length") == 0
