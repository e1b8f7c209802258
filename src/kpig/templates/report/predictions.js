/* Every prediction: a filtered list of thousands of rows of which only those in sight are made, and one in full. */
"use strict";
const predictions = (() => {
  const { element, number } = kpig;
  const HEIGHT = 52; // of a row of the list, as in report.css
  const SLACK = 6; // rows made beyond both edges
  const spoken = (kind) => kind.replaceAll("_", " ");

  /** One row for each answer, with the answer a step before and the best score until then. */
  function rowsOf(explorer) {
    const rows = [];
    explorer.examples.forEach((example) => {
      let before = null, best = null;
      for (const answer of example.answers) {
        rows.push({ example, answer, before, best });
        if (answer.score !== undefined && (best === null || answer.score > best.score)) best = { score: answer.score, step: answer.step };
        before = answer;
      }
    });
    return rows;
  }
  const isRight = (answer) => answer.score !== undefined && answer.score >= 0.9995;
  const kindsOf = (answer) => answer.violations || [];
  const brokenOf = (answer) => kindsOf(answer).filter((kind) => kind !== "undecided");
  const TESTS = {
    result: {
      right: (row) => isRight(row.answer),
      wrong: (row) => row.answer.score !== undefined && !isRight(row.answer),
      nothing: (row) => row.answer.score === 0,
    },
    change: {
      worse: (row) => row.before && row.answer.score < row.before.score,
      better: (row) => row.before && row.answer.score > row.before.score,
      lost: (row) => row.best && row.answer.score < row.best.score,
      other: (row) => row.before && row.answer.response !== row.before.response,
    },
    listening: {
      same: (row) => row.answer.same,
      differs: (row) => row.answer.masked !== undefined,
      known: (row) => row.answer.gain !== undefined,
    },
  };
  const NAMES = {
    result: { "": "any score", right: "right (full score)", wrong: "wrong (below full score)", nothing: "score 0" },
    change: {
      "": "changed or not", worse: "worse than a step before", better: "better than a step before",
      lost: "worse than at its best before", other: "another answer than a step before",
    },
    listening: { "": "listening or not", same: "same without key parts", differs: "differs without key parts", known: "gain measured" },
    order: { "": "in order of the data", gain: "lowest gain first", "-gain": "highest gain first", score: "lowest score first" },
  };

  function text(row) {
    const { example, answer } = row;
    example.words ||= [example.task, example.id, ...example.prompt.map((one) => one[0]), ...(example.references || [])].join("\n").toLowerCase();
    return `${example.words}\n${answer.response || ""}\n${answer.masked || ""}`;
  }
  function sign(answer) {
    if (answer.score === undefined) return ["?", "soft", "not scored"];
    if (isRight(answer)) return ["✓", "good", "right"];
    return answer.score > 0 ? ["◐", "warn", "in part"] : ["✗", "bad", "wrong"];
  }
  const stepName = (step) => (step ? `step ${step}` : "untuned");

  /** Build the explorer into a place; the answer is a function that filters it: `filter({ task, step })`. */
  function show(place, explorer) {
    const rows = rowsOf(explorer);
    if (!rows.length) {
      place.replaceChildren(element("p", null, "The predictions are not in the run folder."));
      return () => {};
    }
    const tasks = [...new Set(explorer.examples.map((one) => one.task))];
    const steps = [...new Set(rows.map((one) => one.answer.step))].sort((one, other) => one - other);
    const kinds = [...new Set(rows.flatMap((one) => kindsOf(one.answer)))];
    const hasNew = explorer.examples.some((one) => one.new);
    let found = rows, chosen = 0;

    const select = (key, title, options) => {
      const made = element("select", { "data-filter": key, change: () => apply() }, options.map(([value, words]) => element("option", { value }, words)));
      return [made, element("label", null, title, made)];
    };
    const fields = {}, labels = [];
    const add = (key, title, options) => {
      const [field, made] = select(key, title, options);
      fields[key] = field;
      labels.push(made);
    };
    add("task", "Task", [["", `all ${tasks.length} tasks`], ...tasks.map((one, place) => [String(place), one])]);
    add("step", "Step", [["", "all steps"], ...steps.map((one) => [String(one), stepName(one)])]);
    add("result", "Result", Object.entries(NAMES.result));
    add("rule", "Rules", [["", "broken or kept"], ["*", "breaks a rule"], ...kinds.map((one) => [one, spoken(one)])]);
    add("change", "Change", Object.entries(NAMES.change));
    if (rows.some((one) => one.answer.same || one.answer.masked !== undefined)) add("listening", "Listening", Object.entries(NAMES.listening));
    if (hasNew) add("wording", "Wording", [["", "any wording"], ["own", "the task's own"], ["new", "never trained on"]]);
    add("order", "Order", Object.entries(NAMES.order));
    const search = element("input", { type: "search", "data-filter": "search", placeholder: "prompt, answer, reference, id", input: () => later() });
    labels.unshift(element("label", null, "Search", search));
    const reset = element("button", { type: "button", click: () => { filter({}); } }, "Reset");
    let waiting = 0;
    const later = () => { clearTimeout(waiting); waiting = setTimeout(apply, 120); };

    const count = element("p", { class: "count", role: "status" });
    const room = element("div", { class: "room" });
    const list = element("div", { class: "list", tabindex: "0", role: "listbox", "aria-label": "Answers", scroll: () => fill() }, room);
    const one = element("article", { class: "one", "aria-label": "The chosen answer" });

    function apply() {
      const value = (key) => (fields[key] ? fields[key].value : "");
      const words = search.value.trim().toLowerCase();
      const tests = [];
      if (value("task")) tests.push((row) => row.example.task === tasks[Number(value("task"))]);
      if (value("step")) tests.push((row) => String(row.answer.step) === value("step"));
      if (value("rule") === "*") tests.push((row) => brokenOf(row.answer).length > 0);
      else if (value("rule")) tests.push((row) => kindsOf(row.answer).includes(value("rule")));
      if (value("wording")) tests.push((row) => Boolean(row.example.new) === (value("wording") === "new"));
      for (const key of Object.keys(TESTS)) if (value(key)) tests.push(TESTS[key][value(key)]);
      if (words) tests.push((row) => text(row).includes(words) || (row.answer.response || "").toLowerCase().includes(words));
      found = rows.filter((row) => tests.every((test) => test(row)));
      const order = value("order");
      if (order) {
        const way = order.startsWith("-") ? -1 : 1;
        const key = order.endsWith("gain") ? (row) => (row.answer.gain ? way * row.answer.gain[0] : Infinity) : (row) => row.answer.score ?? Infinity;
        found = [...found].sort((a, b) => key(a) - key(b));
      }
      const shown = found.length === rows.length ? "" : ` of ${rows.length.toLocaleString("en")}`;
      count.textContent = `${found.length.toLocaleString("en")}${shown} answers`;
      chosen = 0;
      list.scrollTop = 0;
      room.style.height = `${found.length * HEIGHT}px`;
      fill(true);
      detail();
    }

    /** Make the rows in sight, and drop the others. */
    const made = new Map();
    function fill(anew) {
      if (anew) {
        made.clear();
        room.replaceChildren();
      }
      const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - SLACK);
      const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + SLACK);
      for (const [place, item] of made) {
        if (place < first || place >= last) {
          item.remove();
          made.delete(place);
        }
      }
      for (let place = first; place < last; place += 1) {
        if (made.has(place)) continue;
        const item = entry(found[place], place);
        made.set(place, item);
        room.append(item);
      }
      if (!found.length) room.replaceChildren(element("p", { class: "empty" }, "No answer fits these filters."));
    }
    function entry(row, place) {
      const { example, answer, before } = row;
      const [mark, tone, spokenMark] = sign(answer);
      const moved = before && answer.score !== before.score ? (answer.score > before.score ? "▲" : "▼") : "";
      const item = element("div", {
        class: "item", role: "option", id: `answer-${place}`, "aria-selected": String(place === chosen),
        "aria-posinset": String(place + 1), "aria-setsize": String(found.length), click: () => choose(place),
      },
        element("div", { class: "top" },
          element("span", { class: `mark ${tone}`, title: spokenMark, "aria-label": spokenMark }, mark),
          element("span", { class: "name" }, `${example.task} · ${example.id}`),
          element("span", { class: "end" },
            moved ? element("span", { class: moved === "▲" ? "good" : "bad", title: "against the step before" }, moved) : null,
            brokenOf(answer).length ? element("span", { class: "bad", title: brokenOf(answer).map(spoken).join(", ") }, `${brokenOf(answer).length} broken`) : null,
            answer.same ? element("span", { class: "warn", title: "the same answer without the key parts" }, "half") : null,
            element("span", null, stepName(answer.step)))),
        element("div", { class: "said" }, (answer.response || "").trim() || "(empty)"));
      item.style.top = `${place * HEIGHT}px`;
      return item;
    }
    function choose(place) {
      if (place < 0 || place >= found.length) return;
      const old = made.get(chosen);
      if (old) old.setAttribute("aria-selected", "false");
      chosen = place;
      const top = place * HEIGHT;
      if (top < list.scrollTop) list.scrollTop = top;
      else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
      fill();
      const item = made.get(place);
      if (item) item.setAttribute("aria-selected", "true");
      list.setAttribute("aria-activedescendant", `answer-${place}`);
      detail();
    }
    list.addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
      const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: Math.min(chosen + page, found.length - 1), PageUp: Math.max(chosen - page, 0), Home: 0, End: found.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      choose(to);
    });

    function detail() {
      const row = found[chosen];
      one.hidden = !row;
      if (row) one.replaceChildren(...full(row));
    }
    /** Show another step of the example that is chosen, whatever the filters are. */
    function look(example, answer) {
      const row = rows.find((other) => other.example === example && other.answer === answer);
      one.replaceChildren(...full(row));
    }
    function full(row) {
      const { example, answer } = row;
      const [mark, tone, spokenMark] = sign(answer);
      const history = example.answers.map((other) => {
        const [at, atTone] = sign(other);
        return element("button", { type: "button", "aria-pressed": String(other === answer), click: () => look(example, other) },
          `${stepName(other.step)} `, element("span", { class: atTone }, at), other.score === undefined ? null : ` ${number(100 * other.score, 0)}`);
      });
      return [
        element("h3", { class: "clamp" }, element("span", { class: tone }, `${mark} `), `${example.task} · ${example.id}`),
        element("p", { class: "note" }, `${spokenMark}, ${stepName(answer.step)}, ${spoken(answer.group || "")}${example.new ? ", a wording never trained on" : ""}`
          + `; exact match ${number(answer.exact ?? 0, 0)}, ROUGE-L ${number(answer.rouge ?? 0, 2)}`),
        history.length > 1 ? element("div", { class: "steps", role: "group", "aria-label": "The same example after every step" }, history) : null,
        element("h4", null, "Prompt"),
        prompt(example),
        element("div", { class: "pair" },
          words("Answer", answer.response || "(empty)"),
          answer.same ? words("Answer without the key parts", "the same answer", "warn")
            : answer.masked === undefined ? null : words("Answer without the key parts", answer.masked || "(empty)")),
        element("h4", null, (example.references || []).length === 1 ? "Reference" : "References"),
        element("div", { class: "words box" }, (example.references || []).join("\n")),
        rules(example, answer),
        gain(answer),
      ].filter(Boolean);
    }
    function prompt(example) {
      const used = [...new Set(example.prompt.map((piece) => piece[1]))].filter((kind) => kind >= 0);
      const shown = element("div", { class: "words box" }, example.prompt.map(([piece, kind]) =>
        (kind < 0 ? piece : element("mark", { class: explorer.kinds[kind], title: `key part: ${spoken(explorer.kinds[kind])}` }, piece))));
      const legend = used.length ? element("div", { class: "kinds" }, "key parts:", used.map((kind) => element("mark", { class: explorer.kinds[kind] }, spoken(explorer.kinds[kind])))) : null;
      return element("div", null, shown, legend);
    }
    function words(title, said, tone) {
      return element("div", null, element("h4", null, title), element("div", { class: `words box${tone ? ` ${tone}` : ""}` }, said));
    }
    function rules(example, answer) {
      const broken = new Map((answer.broken || []).map(([place, why]) => [place, why]));
      const items = (example.rules || []).map(([demand, kind], place) => element("li", null,
        broken.has(place) ? element("span", { class: "sign bad" }, "✗") : element("span", { class: "sign good" }, "✓"),
        element("span", null, demand,
          broken.has(place) && broken.get(place) ? element("span", { class: "bad" }, `; ${broken.get(place)}`) : null,
          broken.has(place) ? element("span", { class: "soft" }, ` (${spoken(kind)})`) : null)));
      if (answer.degenerate) items.push(element("li", null, element("span", { class: "sign bad" }, "✗"), element("span", null, `degenerate: ${answer.degenerate}`)));
      const untold = brokenOf(answer).filter((kind) => kind !== "degenerate" && !(example.rules || []).length);
      if (untold.length) items.push(element("li", null, element("span", { class: "sign bad" }, "✗"), element("span", null, `${untold.map(spoken).join(", ")}: the run keeps no rules of this task`)));
      if (kindsOf(answer).includes("undecided")) items.push(element("li", null, element("span", { class: "sign soft" }, "?"), element("span", null, "a rule got no verdict")));
      return items.length ? element("div", null, element("h4", null, "Rules"), element("ul", { class: "rules" }, items)) : null;
    }
    function gain(answer) {
      if (!answer.gain) return null;
      const [prob, log, instructed, masked, reading] = answer.gain;
      return element("div", null, element("h4", null, "Gain of the key parts"),
        element("p", { class: "note" }, `${number(prob, 2)} (${number(log, 2)} nats per token): the reference has a probability of ${number(instructed, 2)} `
          + `per token with the key parts and ${number(masked, 2)} without them. Reading: ${reading}${explorer.readings[reading] ? `, ${explorer.readings[reading]}` : ""}.`));
    }

    function filter(values) {
      for (const [key, field] of Object.entries(fields)) field.value = "";
      search.value = values.search || "";
      if (values.task !== undefined) fields.task.value = String(tasks.indexOf(values.task));
      if (values.step !== undefined) fields.step.value = String(values.step);
      apply();
    }

    const isSample = explorer.examples.length < explorer.num_examples;
    const sample = isSample
      ? `Too many for one page: an even choice of ${explorer.examples.length.toLocaleString("en")} examples is here, whatever their score, of ${explorer.num_examples.toLocaleString("en")} examples with ${explorer.num_answers.toLocaleString("en")} answers. All are in the run's steps/*/predictions/.`
      : `All ${explorer.num_answers.toLocaleString("en")} answers to ${explorer.num_examples.toLocaleString("en")} test examples.`;
    place.replaceChildren(
      element("p", { class: isSample ? "note caution" : "note" }, sample),
      element("div", { class: "controls" }, labels, reset), count,
      element("div", { class: "explorer" }, list, one));
    filter({ step: steps[steps.length - 1] });
    return filter;
  }

  return { show };
})();
