/* A comparison: plots by choice, two methods task by task, their answers to the same example. */
"use strict";
(async () => {
  const { data, element, number, plot, sortable, scrolling } = kpig;
  const [plots, lines, pairs] = await Promise.all([data("plots"), data("lines"), data("pairs")]);
  const at = (id) => document.getElementById(id);
  const options = (place, pairsOfText) => place.replaceChildren(...pairsOfText.map(([value, words]) => element("option", { value }, words)));
  const signed = (value, digits = 1) => (value > 0 && Number(value.toFixed(digits)) !== 0 ? "+" : "") + number(value, digits);
  const short = (words, limit = 80) => (words.length > limit ? `${words.slice(0, limit - 1)}…` : words);
  const mean = (values) => (values.length ? values.reduce((sum, one) => sum + one, 0) / values.length : null);

  // Plots: one for each choice of score and cost.
  function chosen(place, find) {
    const figure = find();
    place.hidden = !figure;
    if (figure) plot(place, figure);
  }
  const main = pairs.measures.map(([key, short]) => [key, short]);
  const drawCost = () => chosen(at("cost-plot"), () => plots.costs[`${at("cost-score").value}/${at("cost-kind").value}`]);
  options(at("cost-score"), main.filter(([key]) => plots.costs[`${key}/computing`]));
  at("cost-score").addEventListener("change", drawCost);
  at("cost-kind").addEventListener("change", drawCost);
  drawCost();
  const drawDifference = () => chosen(at("difference-plot"), () => plots.differences[at("difference-score").value]);
  options(at("difference-score"), main.filter(([key]) => plots.differences[key]));
  at("difference-score").addEventListener("change", drawDifference);
  at("difference-score").closest(".controls").hidden = !at("difference-score").options.length;
  drawDifference();
  for (const figure of document.querySelectorAll("figure[data-plot]")) {
    const found = plots[figure.dataset.plot][figure.dataset.name];
    figure.hidden = !found;
    if (found) plot(figure.querySelector("div"), found);
  }

  // Two methods of choice.
  const [pickA, pickB, pickCell] = [at("pair-a"), at("pair-b"), at("pair-cell")];
  for (const line of lines) line.label = short(line.label);
  const names = lines.map((line, place) => [place, line.label]);
  options(pickA, names);
  options(pickB, names);
  const reference = Math.max(0, lines.findIndex((line) => line.reference));
  const rival = lines.findIndex((line, place) => place !== reference && !line.bound);
  pickA.value = reference;
  pickB.value = rival >= 0 ? rival : lines.findIndex((line, place) => place !== reference);
  if (lines.length < 2) pickB.value = reference;

  const answers = await data("answers");
  const shared = (a, b) => answers.cells.map((name, cell) => cell).filter((cell) => pairs.scores[a][cell] && pairs.scores[b][cell]);
  function pair() {
    const [a, b] = [Number(pickA.value), Number(pickB.value)];
    const cells = shared(a, b);
    return { a, b, cells: pickCell.value === "" ? cells : cells.filter((cell) => cell === Number(pickCell.value)) };
  }
  function listCells() {
    const kept = pickCell.value;
    const cells = shared(Number(pickA.value), Number(pickB.value));
    options(pickCell, [["", `all ${cells.length} that both have`], ...cells.map((cell) => [cell, answers.cells[cell]])]);
    if ([...pickCell.options].some((one) => one.value === kept)) pickCell.value = kept;
  }
  const name = (place) => element("span", null, element("span", { class: "swatch", style: `color: ${lines[place].colour}` }), lines[place].label);

  /** The paired difference A minus B of a measure: from Python where all cells are meant, else of the one cell. */
  function difference(key, { a, b, cells }) {
    const [one, other] = [pairs.values[key][a], pairs.values[key][b]];
    const both = cells.filter((cell) => one[cell] !== null && other[cell] !== null);
    const found = { a: mean(both.map((cell) => one[cell])), b: mean(both.map((cell) => other[cell])), n: both.length };
    if (!both.length) return found;
    found.mean = found.a - found.b;
    const known = pairs.differences[`${Math.min(a, b)}/${Math.max(a, b)}`];
    if (pickCell.value === "" && known && known[key]) {
      const [, low, high, , p] = known[key];
      if (low !== null) [found.low, found.high] = a < b ? [low, high] : [-high, -low];
      found.p = p;
    }
    return found;
  }
  /** Green or red only where the whole interval is on one side. */
  function toned({ low, high }, better) {
    if (low === undefined || (low <= 0 && high >= 0)) return "";
    return low > 0 === (better === "higher") ? "good" : "bad";
  }
  function summary(now) {
    const row = ([key, short, better, digits]) => {
      const found = difference(key, now);
      if (!found.n) return null;
      const interval = found.low === undefined ? null : element("span", { class: "interval" }, `[${signed(found.low, digits)}, ${signed(found.high, digits)}]`);
      return element("tr", null,
        element("th", { scope: "row" }, `${short} ${better === "higher" ? "↑" : "↓"}`),
        element("td", { class: "number" }, number(found.a, digits)),
        element("td", { class: "number" }, number(found.b, digits)),
        element("td", { class: `number ${toned(found, better)}` }, signed(found.mean, digits), interval),
        element("td", { class: "number" }, found.p === undefined ? "–" : found.p.toFixed(3)),
        element("td", { class: "number" }, String(found.n)));
    };
    const head = element("tr", null, element("th", { scope: "col" }, "Score"), ...["A", "B", "A − B", "p", "Pairs"].map((one) => element("th", { scope: "col", class: "number" }, one)));
    at("pair-summary").replaceChildren(
      element("p", { class: "key" }, element("span", null, "A: ", name(now.a)), element("span", null, "B: ", name(now.b))),
      element("div", { class: "scroll" }, element("table", null, element("thead", null, head), element("tbody", null, ...pairs.measures.map(row)))),
      element("p", { class: "note" }, "Means over the runs that both have, and the 95 % bootstrap interval of their paired difference. p is that of this pair alone: a pair that was picked because it differs needs the adjusted p above."));
  }

  /** By task: the mean scores, and in how many runs and on how many examples A or B is ahead. */
  function byTask(now) {
    const counts = pairs.tasks.map(() => ({ a: 0, b: 0, same: 0 }));
    const places = new Map(pairs.tasks.map(([task], place) => [task, place]));
    for (const [task, cell, , isNew, scores] of answers.examples) {
      const count = counts[places.get(answers.tasks[task])];
      if (!count || isNew || !now.cells.includes(cell)) continue;
      const outcome = outcomeOf(scores, now);
      if (outcome) count[outcome] += 1;
    }
    return pairs.tasks.map(([task, group, metric], place) => {
      const both = now.cells.map((cell) => [pairs.scores[now.a][cell][place], pairs.scores[now.b][cell][place]]).filter(([one, other]) => one && other);
      if (!both.length) return null;
      const [p, v] = [0, 1].map((which) => mean(both.map(([one, other]) => one[which] - other[which])));
      const runs = { a: both.filter(([one, other]) => one[0] > other[0]).length, b: both.filter(([one, other]) => one[0] < other[0]).length };
      return { task, group, metric, a: mean(both.map(([one]) => one[0])), b: mean(both.map(([, other]) => other[0])), p, v, runs, num: both.length, count: counts[place] };
    }).filter(Boolean);
  }
  function outcomeOf(scores, { a, b }) {
    if (scores[a] === null || scores[b] === null) return null;
    return scores[a] === scores[b] ? "same" : scores[a] > scores[b] ? "a" : "b";
  }
  /** A bar in the colour of the method that is ahead; the longest one fills its side. */
  function bar(value, most, now) {
    const width = `${(100 * Math.abs(value)) / most}%`;
    const filled = (line) => element("i", { style: `width: ${width}; background: ${lines[line].colour}` });
    return element("span", { class: "diverging", "aria-hidden": "true" },
      element("span", null, value < 0 ? filled(now.b) : null), element("span", null, value > 0 ? filled(now.a) : null));
  }
  function taskTable(now) {
    const found = byTask(now).sort((one, other) => other.p - one.p);
    const most = Math.max(10, ...found.map((one) => Math.abs(one.p)));
    const tally = ({ a, b }, all) => [`${a} : ${b}`, element("span", { class: "interval" }, `${all - a - b} even`)];
    const row = (one) => element("tr", null,
      element("th", { scope: "row", "data-order": one.task }, element("button", { type: "button", class: "task", click: () => open(one.task) }, short(one.task)), element("span", { class: "interval soft" }, `${one.group}, ${one.metric}`)),
      element("td", { class: "number" }, number(one.a)),
      element("td", { class: "number" }, number(one.b)),
      element("td", { class: "number", "data-order": one.p }, signed(one.p)),
      element("td", { "data-order": one.p }, bar(one.p, most, now)),
      element("td", { class: "number", "data-order": one.v }, signed(one.v)),
      element("td", { class: "number", "data-order": one.runs.a - one.runs.b }, ...tally(one.runs, one.num)),
      element("td", { class: "number", "data-order": one.count.a - one.count.b }, ...tally(one.count, one.count.a + one.count.b + one.count.same)));
    const headings = [["Task", ""], ["P of A", "number"], ["P of B", "number"], ["A − B", "number"], ["B ahead | A ahead", ""], ["V: A − B", "number"], ["Runs A : B", "number"], ["Examples A : B", "number"]];
    const head = element("tr", null, ...headings.map(([words, kind]) => element("th", { scope: "col", class: kind }, words)));
    const ahead = (side) => found.filter((one) => (side === "a" ? one.p > 0 : one.p < 0)).length;
    const table = element("table", { class: "sortable versus" }, element("thead", null, head), element("tbody", null, ...found.map(row)));
    at("pair-tasks").replaceChildren(
      element("p", null, `A is ahead on ${ahead("a")} of ${found.length} tasks, B on ${ahead("b")}.`),
      element("div", { class: "scroll" }, table),
      element("p", { class: "note" }, "P and V are means over these runs, under the task's own wording. Runs and examples count where A and where B has the higher score. Choose a task to see its answers."));
    scrolling(at("pair-tasks"));
    sortable(at("pair-tasks"));
  }

  // Answers side by side.
  const ON_A_PAGE = 10;
  let page = 0;
  const [pickTask, pickOutcome, pickWording, search] = ["task", "outcome", "wording", "search"].map((one) => at(`answers-${one}`));
  options(pickTask, [["", "all"], ...answers.tasks.map((one, place) => [place, short(one)])]);
  function open(task) {
    const place = answers.tasks.indexOf(task);
    if (place < 0) return;
    pickTask.value = place;
    list();
    at("answers").scrollIntoView();
    pickTask.focus({ preventScroll: true });
  }
  function matching(now) {
    const words = search.value.trim().toLowerCase();
    const cells = new Set(now.cells);
    const found = answers.examples.filter(([task, cell, , isNew, scores]) => {
      if (!cells.has(cell) || (pickTask.value !== "" && task !== Number(pickTask.value))) return false;
      if (pickWording.value !== "" && isNew !== Number(pickWording.value)) return false;
      const outcome = outcomeOf(scores, now);
      return pickOutcome.value === "all" || (pickOutcome.value === "differ" ? outcome === "a" || outcome === "b" : outcome === pickOutcome.value);
    });
    const kept = found.filter(([, , , , , texts]) => texts >= 0 && (!words || said(answers.texts[texts], now).includes(words)));
    return [found, kept];
  }
  function said(texts, { a, b }) {
    const both = [a, b].map((place) => texts.answers[place]).filter(Boolean).map((one) => one.response);
    return [answers.prompts[texts.prompt], ...both].join("\n").toLowerCase();
  }
  function side(letter, place, texts, scores) {
    const answer = texts.answers[place];
    const facts = [];
    if (answer) {
      if (answer.violations) facts.push(element("p", { class: "note bad" }, `breaks: ${answer.violations.join(", ")}`));
      if (answer.undecided) facts.push(element("p", { class: "note" }, "a rule without a verdict, which is none that is broken"));
      if (answer.cut) facts.push(element("p", { class: "note" }, "cut off at the token limit"));
      if (answer.same) facts.push(element("p", { class: "note warn" }, "the same without the key parts"));
      if (answer.masked !== undefined) facts.push(element("details", null, element("summary", null, "without the key parts"), element("p", { class: "words" }, answer.masked || "(empty)")));
    }
    return element("div", { class: "side", style: `color: ${lines[place].colour}` },
      element("h4", null, `${letter}: ${lines[place].label}`, scores[place] === null ? "" : ` · ${number(scores[place])}`),
      element("p", { class: "words said" }, answer ? answer.response || "(empty)" : "no answer kept"), ...facts);
  }
  function card([task, cell, id, isNew, scores, place], now) {
    const texts = answers.texts[place];
    const prompt = answers.prompts[texts.prompt];
    const words = element("p", { class: "words clip" }, prompt);
    const isLong = prompt.length > 480 || prompt.split("\n").length > 6;
    const more = isLong ? element("button", { type: "button", class: "quiet", "aria-expanded": "false", click: (event) => {
      const isOpen = !words.classList.toggle("clip");
      event.target.setAttribute("aria-expanded", String(isOpen));
      event.target.textContent = isOpen ? "show less" : "show the whole prompt";
    } }, "show the whole prompt") : null;
    return element("article", { class: "answer-card" },
      element("header", null, element("strong", null, short(answers.tasks[task])), element("span", null, `example ${short(id)}`), element("span", null, answers.cells[cell]), isNew ? element("span", null, "new wording") : null),
      words, more,
      element("p", { class: "note" }, `Right: ${texts.references.join(" · ")}`),
      element("div", { class: "sides" }, side("A", now.a, texts, scores), side("B", now.b, texts, scores)));
  }
  function list() {
    const now = pair();
    const [found, kept] = matching(now);
    page = Math.max(0, Math.min(page, Math.ceil(kept.length / ON_A_PAGE) - 1));
    const first = page * ON_A_PAGE;
    const missing = found.filter((one) => one[5] < 0).length;
    at("answers-count").textContent = `${kept.length.toLocaleString("en")} answers` + (missing ? `; ${missing.toLocaleString("en")} more have scores here, and their texts in the files` : "");
    at("answers-list").replaceChildren(...kept.slice(first, first + ON_A_PAGE).map((one) => card(one, now)));
    at("answers-page").textContent = kept.length ? `${first + 1} to ${Math.min(first + ON_A_PAGE, kept.length)} of ${kept.length.toLocaleString("en")}` : "none";
    at("answers-back").disabled = page === 0;
    at("answers-next").disabled = first + ON_A_PAGE >= kept.length;
  }
  const restart = () => { page = 0; list(); };
  for (const place of [pickTask, pickOutcome, pickWording]) place.addEventListener("change", restart);
  search.addEventListener("input", restart);
  const turn = (by) => { page += by; list(); at("answers-count").scrollIntoView({ block: "nearest" }); };
  at("answers-back").addEventListener("click", () => turn(-1));
  at("answers-next").addEventListener("click", () => turn(1));

  const numTexts = answers.texts.length;
  at("answers-note").textContent = !answers.examples.length
    ? "The runs keep no answers."
    : `After the last step. This page has the scores of ${answers.examples.length.toLocaleString("en")} examples and the texts of ${numTexts.toLocaleString("en")}`
      + (numTexts < answers.examples.length ? ", first those on which methods differ, as many of each task; the rest is in the runs' predictions." : ".")
      + (answers.left_out.length ? ` Not read, for there are too many: ${answers.left_out.join("; ")}.` : "")
      + answers.notes.map((one) => ` ${one}.`).join("");
  function show() {
    listCells();
    const now = pair();
    summary(now);
    taskTable(now);
    scrolling(at("pair-summary"));
    restart();
  }
  for (const place of [pickA, pickB, pickCell]) place.addEventListener("change", show);
  at("pair-swap").addEventListener("click", () => {
    [pickA.value, pickB.value] = [pickB.value, pickA.value];
    show();
  });
  show();
  document.documentElement.dataset.ready = "yes";
})();
