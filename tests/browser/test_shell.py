"""The shell of pages in a real browser: its policy holds, its tools show text as text, its theme switches."""

import pytest

from browser.visits import HOSTILE, THEMES, WIDTHS
from kpig import pages

FIGURE = {
    "data": [
        {"type": "scatter", "x": [1, 2, 3], "y": [1, 5, 2], "error_y": {"type": "data", "array": [1, 1, 1]}},
        {"type": "heatmap", "z": [[1, 2], [3, 4]], "xaxis": "x2", "yaxis": "y2"},
    ],
    "layout": {"height": 300, "xaxis": {"domain": [0, 0.5]}, "xaxis2": {"domain": [0.6, 1]}},
}


@pytest.fixture
def shell(tmp_path):
    path = tmp_path / "shell.html"
    data = {"words": list(HOSTILE), "figure": FIGURE}
    path.write_text(pages.render("pages/base.html.j2", {}, data=data), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_the_shell_opens_without_a_word_and_fits_the_window(visit, shell, width, theme):
    one = visit(shell, width, theme)
    assert one.overflow() <= 0
    assert one.page.evaluate("kpig.isDark()") == (theme == "dark")


def test_packed_data_arrive_as_they_were_made_visible(visit, shell):
    words = visit(shell).page.evaluate("kpig.data('words')")
    assert words[0] == HOSTILE[0] and words[7:] == list(HOSTILE[7:])
    assert "\u202e" not in words[4] and "\x00" not in words[5] and "\ud800" not in words[6]


def test_an_element_holds_hostile_text_as_text(visit, shell):
    page = visit(shell).page
    made = """async () => {
      const words = await kpig.data("words");
      const place = document.getElementById("content");
      place.replaceChildren(...words.map((one) => kpig.element("p", { title: one, class: "words" }, one)));
      const shown = [...place.children].map((one) => one.textContent);
      return [shown, place.querySelectorAll("p > *").length, words];
    }"""
    shown, num_tags, words = page.evaluate(made)
    assert shown == words and num_tags == 0


def test_a_plot_is_drawn_under_the_policy_and_repainted_by_the_switch(visit, shell):
    one = visit(shell)
    page = one.page
    page.evaluate(
        """async () => {
          const place = kpig.element("div", { id: "here" });
          document.getElementById("content").append(place);
          kpig.plot(place, await kpig.data("figure"));
        }"""
    )
    page.wait_for_selector("#here[data-drawn]")
    colour = "getComputedStyle(document.querySelector('#here .xtick text')).fill"
    before = page.evaluate(colour)
    for theme in ("light", "dark"):
        page.click("#theme")
        assert page.inner_text("#theme") == f"Theme: {theme}"
    one.until(f"{colour} !== '{before}'")


def test_a_table_sorts_by_click_and_by_keyboard(visit, shell):
    one = visit(shell)
    page = one.page
    page.evaluate(
        """(numbers) => {
          const { element, sortable } = kpig;
          const row = (tag, ...cells) => element("tr", null, ...cells.map((one) => element(tag, null, one)));
          const rows = numbers.map((one) => row("td", `<b>${one}`, `${one} points`));
          rows.forEach((one, place) => (one.cells[1].dataset.order = numbers[place]));
          document.getElementById("content").append(element("table", { class: "sortable" },
            element("thead", null, row("th", "<i>name", "P")), element("tbody", null, ...rows)));
          return sortable();
        }""",
        [9, 100, 20],
    )
    page.wait_for_selector("table[data-sorted]")
    column = "[...document.querySelectorAll('tbody td:nth-child(2)')].map((one) => one.textContent)"
    page.click("thead th:nth-child(2)")
    one.until(f"{column}.join() === '9 points,20 points,100 points'")
    page.focus("thead th:nth-child(2) [tabindex='0']")
    page.keyboard.press("Enter")
    one.until(f"{column}[0] === '100 points'")
    assert page.get_attribute("thead th:nth-child(2)", "aria-sort") == "descending"
    assert page.evaluate("document.querySelectorAll('tbody b, thead i').length") == 0


def test_a_script_that_is_not_the_pages_own_is_not_run(visit, shell, tmp_path):
    path = tmp_path / "changed.html"
    page = shell.read_text(encoding="utf-8")
    path.write_text(
        page.replace("</body>", "<script>document.title = 'run'</script></body>"), encoding="utf-8"
    )
    one = visit(path)
    assert one.page.title() == "kpig"
    assert [text for text in one.errors if "script-src" in text] == one.errors != []
    one.told.clear()
