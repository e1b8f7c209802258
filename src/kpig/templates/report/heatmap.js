/* Task by step: a table of cells to walk through, and the curves of the task that is chosen. */
"use strict";
const heatmap = (() => {
  const { element, number, plot, label } = kpig;
  const MEASURES = {
    p: { name: "Score", axis: "P-score", digits: 1, better: 1, low: 0, high: 100 },
    v: { name: "V-score", axis: "V-score", digits: 1, better: -1, low: 0, high: 100 },
    gain: { name: "Gain", axis: "gain", digits: 2, better: 1, low: 0, high: 1 },
    half: { name: "Half-listening", axis: "half-listening %", digits: 1, better: -1, low: 0, high: 100 },
  };
  const AGAINST = { now: "as they are", before: "against the step before", untuned: "against untuned" };
  const BLUE = "#2f73d9", ORANGE = "#cc6a14";
  const DEEPEST = 72; // percent of the hue in a cell: text on it keeps a contrast of 4.5 in both themes

  function value(row, measure, place, against) {
    const values = row.values[measure];
    const now = values[place];
    if (against === "now" || now === null) return now;
    const before = against === "untuned" ? values[0] : values[place - 1];
    return place === 0 || before === null || before === undefined ? null : now - before;
  }
  function shade(measure, found, against, largest) {
    const { better, low, high } = MEASURES[measure];
    if (against === "now") {
      const share = Math.max(0, Math.min(1, (found - low) / (high - low)));
      return [better > 0 ? BLUE : ORANGE, share * DEEPEST];
    }
    return [found * better >= 0 ? BLUE : ORANGE, largest ? (Math.abs(found) / largest) * DEEPEST : 0];
  }
  function said(found, measure, against) {
    if (found === null) return "";
    const text = number(found, MEASURES[measure].digits);
    return against !== "now" && found > 0 && Number(text) !== 0 ? `+${text}` : text;
  }

  /** Build the map of a grid into a place; `answers(task, step)` shows the answers behind a cell. */
  function show(place, grid, answers) {
    const has = Object.keys(MEASURES).filter((name) => grid.tasks.some((row) => row.values[name].some((one) => one !== null)));
    const chosen = { measure: has[0] || "p", against: "now", task: null, step: null };
    const table = element("table");
    const legend = element("div", { class: "legend" });
    const panel = element("div", { class: "panel", hidden: true, "aria-live": "polite" });
    const worse = new Map(grid.worse.map((one) => [one.task, one]));

    const choice = (names, key, title) => {
      const buttons = names.map(([name, words]) => element("button", {
        type: "button", "aria-pressed": String(chosen[key] === name), "data-name": name,
        click: () => {
          chosen[key] = name;
          for (const one of buttons) one.setAttribute("aria-pressed", String(one.dataset.name === name));
          draw();
        },
      }, words));
      return element("div", { class: "choice", role: "group", "aria-label": title }, buttons);
    };
    const controls = element("div", { class: "controls" },
      choice(has.map((name) => [name, MEASURES[name].name]), "measure", "Measure"),
      choice(Object.entries(AGAINST), "against", "Differences"));

    function heading(row, isMean) {
      const when = isMean ? "" : row.learned === null ? "to come" : row.learned ? `step ${row.learned}` : "";
      return element("th", { scope: "row" }, element("span", { class: "clamp", title: row.name }, row.name), when ? element("span", { class: "when" }, when) : null);
    }
    function cell(row, place, isMean, largest) {
      const { measure, against } = chosen;
      const found = value(row, measure, place, against);
      const step = grid.steps[place];
      if (found === null) return element("td");
      const [hue, share] = shade(measure, found, against, largest);
      const text = said(found, measure, against);
      const error = row.errors[measure][place];
      const fell = !isMean && place === grid.steps.length - 1 && measure === "p" ? worse.get(row.name) : null;
      const told = `${row.name}, ${step ? `after step ${step}` : "untuned"}: ${MEASURES[measure].axis} ${text}`
        + (against === "now" && error !== null && error !== undefined ? ` ± ${number(error, MEASURES[measure].digits)}` : "")
        + (fell ? `; worse beyond noise since ${fell.since ? `step ${fell.since}` : "untuned"}` : "");
      const button = element("button", {
        type: "button", class: `heat${row.learned === step && step ? " learned" : ""}`, title: told, "aria-label": told, tabindex: "-1",
        "aria-pressed": String(chosen.task === row.name && chosen.step === step),
        click: () => choose(row, step),
      }, text, fell ? element("span", { class: "fell", "aria-hidden": "true" }, "▼") : null);
      button.style.setProperty("--hue", hue);
      button.style.setProperty("--share", share.toFixed(1));
      return element("td", null, button);
    }
    function lines(rows, isMean, largest) {
      return rows.map((row) => element("tr", { class: isMean ? "mean" : null }, heading(row, isMean),
        grid.steps.map((_, place) => cell(row, place, isMean, largest))));
    }
    function draw() {
      const all = grid.tasks.flatMap((row) => grid.steps.map((_, place) => value(row, chosen.measure, place, chosen.against)));
      const largest = Math.max(0, ...all.filter((one) => one !== null).map(Math.abs));
      const learned = grid.tasks.filter((row) => row.learned !== 0);
      const heldOut = grid.tasks.filter((row) => row.learned === 0);
      const mean = (group) => (grid.means[group] ? lines([grid.means[group]], true, largest) : []);
      const head = element("thead", null, element("tr", null, element("th", { scope: "col" }, "task"),
        grid.steps.map((step) => element("th", { scope: "col" }, step ? `step ${step}` : "untuned"))));
      const focused = table.contains(document.activeElement);
      table.replaceChildren(head,
        element("tbody", null, mean("seen"), lines(learned, false, largest)),
        ...(heldOut.length ? [element("tbody", null, element("tr", { class: "gap" }, element("td")), mean("held_out"), lines(heldOut, false, largest))] : []));
      const first = table.querySelector('.heat[aria-pressed="true"]') || table.querySelector(".heat");
      if (first) first.tabIndex = 0;
      if (focused && first) first.focus();
      explain(largest);
    }
    function explain(largest) {
      const { better, low, high, digits } = MEASURES[chosen.measure];
      const strip = (from, to) => {
        const bar = element("i", { "aria-hidden": "true" });
        bar.style.background = `linear-gradient(to right, ${from}, ${to})`;
        return bar;
      };
      const deep = (hue) => `color-mix(in srgb, ${hue} ${DEEPEST}%, var(--card))`;
      if (chosen.against === "now") {
        legend.replaceChildren(number(low, digits), strip("var(--card)", deep(better > 0 ? BLUE : ORANGE)), number(high, digits),
          element("span", null, better > 0 ? "higher is better" : "lower is better"));
      } else {
        legend.replaceChildren(`worse by ${number(largest, digits)}`, strip(deep(ORANGE), "var(--card)"), strip("var(--card)", deep(BLUE)),
          `better by ${number(largest, digits)}`);
      }
      if (grid.worse.length && chosen.measure === "p") legend.append(element("span", null, element("span", { class: "bad" }, "▼"), " worse beyond noise"));
    }
    function choose(row, step) {
      chosen.task = row.name;
      chosen.step = step;
      for (const one of table.querySelectorAll(".heat")) one.setAttribute("aria-pressed", "false");
      draw();
      curves(row, step);
    }
    function curves(row, step) {
      const isTask = grid.tasks.includes(row);
      const places = element("div", { class: "curves" });
      panel.hidden = false;
      panel.replaceChildren(
        element("h3", { class: "clamp" }, row.name, isTask ? element("span", { class: "soft" }, ` ${row.metric}, ${row.learned === 0 ? "held out" : row.learned ? `learned in step ${row.learned}` : "to come"}`) : null),
        element("p", { class: "note" }, "Bars are standard errors over test examples; the line marks the step that taught the task."),
        places,
        isTask ? element("button", { type: "button", click: () => answers(row.name, step) }, step ? `See its answers after step ${step}` : "See its answers before training") : null);
      for (const name of has) {
        const here = element("div");
        places.append(element("figure", null, element("figcaption", null, MEASURES[name].axis), here));
        plot(here, curve(grid, row, name));
      }
    }
    function curve(grid, row, name) {
      const { better, digits, axis } = MEASURES[name];
      const line = { type: "line", yref: "paper", x0: row.learned, x1: row.learned, y0: 0, y1: 1, line: { color: "#6b7686", width: 1, dash: "dot" } };
      return {
        data: [{
          type: "scatter", mode: "lines+markers", name: label(axis), x: grid.steps, y: row.values[name], connectgaps: false,
          error_y: { type: "data", array: row.errors[name], thickness: 1.2, width: 3 },
          line: { color: better > 0 ? BLUE : ORANGE, width: 2 }, marker: { size: 6 }, hovertemplate: `step %{x}: %{y:.${digits}f}<extra></extra>`,
        }],
        layout: {
          height: 190, margin: { l: 8, r: 8, t: 8, b: 8 }, showlegend: false, font: { family: "system-ui, sans-serif", size: 12 },
          shapes: row.learned ? [line] : [],
          xaxis: { title: { text: "step" }, dtick: 1 + Math.floor(grid.steps.length / 12), showgrid: false, zeroline: false, automargin: true, fixedrange: true },
          yaxis: { rangemode: "tozero", zeroline: false, automargin: true, fixedrange: true, nticks: 5 },
        },
      };
    }

    // Arrow keys walk from cell to cell; Tab reaches the map once.
    table.addEventListener("keydown", (event) => {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const move = moves[event.key];
      const here = event.target.closest("td");
      if (!move || !here) return;
      event.preventDefault();
      const rows = [...table.querySelectorAll("tbody tr")];
      let line = rows.indexOf(here.parentElement), column = here.cellIndex;
      for (;;) {
        line += move[0];
        column += move[1];
        const next = rows[line] && rows[line].cells[column];
        if (!rows[line] || column < 1 || column > grid.steps.length) return;
        const button = next && next.querySelector(".heat");
        if (!button) continue;
        event.target.tabIndex = -1;
        button.tabIndex = 0;
        button.focus();
        return;
      }
    });

    place.replaceChildren(controls, legend, element("div", { class: "map", role: "region", "aria-label": "Tasks by steps" }, table), panel);
    draw();
  }

  return { show };
})();
