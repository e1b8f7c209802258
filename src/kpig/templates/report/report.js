/* The report: one run at a time in the map, the predictions and the course of training. */
"use strict";
(async () => {
  const { data, element, plot } = kpig;
  const blocks = [...document.querySelectorAll('script[id^="data-run-"]')].map((one) => one.id.slice("data-".length));
  const at = (id) => document.getElementById(id);

  async function show(name) {
    const run = await data(name);
    let filter = () => {};
    heatmap.show(at("map-place"), run.grid, (task, step) => {
      filter({ task, step });
      at("predictions").scrollIntoView();
    });
    filter = predictions.show(at("predictions-place"), run.explorer);
    const course = element("div", { class: "plots several" });
    at("course-place").replaceChildren(course);
    for (const one of run.plots) {
      const here = element("div");
      course.append(element("figure", null, element("figcaption", null, one.title), element("p", { class: "note" }, one.note), here));
      plot(here, one.figure);
    }
    if (!run.plots.length && !document.querySelector("#training [data-figure]")) {
      at("course-place").replaceChildren(element("p", { class: "note" }, "The run recorded no updates."));
    }
    document.body.dataset.shown = name;
  }

  async function pick() {
    const runs = await Promise.all(blocks.map(data));
    const picker = element("select", { id: "run", change: () => show(picker.value) },
      runs.map((run, place) => element("option", { value: blocks[place] }, run.name)));
    at("theme").before(element("label", { class: "run" }, "Run ", picker));
  }

  data("figures").then((figures) => {
    for (const place of document.querySelectorAll("[data-figure]")) plot(place, figures[Number(place.dataset.figure)]);
  });
  if (blocks.length > 1) pick();
  show(blocks[0]);
})();
