/* What every page can do: read its packed data, draw, sort tables, change its theme. Data become text nodes only. */
"use strict";
const kpig = (() => {
  const unpacked = new Map();

  /** The text in a packed block; it is decompressed once. */
  function text(id) {
    if (!unpacked.has(id)) unpacked.set(id, inflate(document.getElementById(id).textContent));
    return unpacked.get(id);
  }
  async function inflate(letters) {
    const bytes = Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  /** The data of a name, as Python packed them; every call gives the same object. */
  const parsed = new Map();
  function data(name) {
    if (!parsed.has(name)) parsed.set(name, text(`data-${name}`).then(JSON.parse));
    return parsed.get(name);
  }

  /** Run a library that the page brought along, once. The page's policy allows its very text. */
  const loaded = new Map();
  function library(name) {
    if (!loaded.has(name)) loaded.set(name, text(`library-${name}`).then(run));
    return loaded.get(name);
  }
  function run(code) {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
  }

  /** An element with attributes (functions listen) and children; a string becomes text, never markup. */
  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") made.addEventListener(name, value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
  }

  /** A text for plotly, which reads tags in it. */
  function label(words, limit = 40) {
    const short = words.length > limit ? `${words.slice(0, limit - 1)}…` : words;
    return short.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  }

  /** A number with so many decimals, never "-0.0"; a dash where there is none. */
  function number(value, digits = 1) {
    if (value === null || value === undefined) return "–";
    const shown = value.toFixed(digits);
    return Number(shown) === 0 ? shown.replace("-", "") : shown;
  }

  // Plots. A figure is drawn when it comes near the screen, and again in the colours of another theme.
  const drawn = new Map();
  const near = "IntersectionObserver" in window
    ? new IntersectionObserver((entries) => {
        for (const entry of entries) {
          if (!entry.isIntersecting) continue;
          near.unobserve(entry.target);
          paint(entry.target);
        }
      }, { rootMargin: "400px" })
    : null;

  function plot(place, figure) {
    drawn.set(place, figure);
    place.classList.add("plot");
    if (figure.layout && figure.layout.height) place.style.minHeight = `${figure.layout.height}px`;
    if (near) near.observe(place);
    else paint(place);
  }
  async function paint(place) {
    await library("plotly");
    const figure = drawn.get(place);
    await Plotly.react(place, figure.data, themed(figure.layout), { displayModeBar: false, responsive: true });
    place.dataset.drawn = "yes";
  }
  function themed(layout) {
    const style = getComputedStyle(document.body);
    const grid = style.getPropertyValue("color").replace("rgb(", "rgba(").replace(")", ", .14)");
    const found = { ...layout, font: { ...layout.font, color: style.color }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
    for (const name of Object.keys(found)) {
      if (!/^[xy]axis\d*$/.test(name)) continue;
      const title = found[name].title ? { ...found[name].title, font: { size: 12 } } : undefined;
      found[name] = { ...found[name], gridcolor: grid, title };
    }
    return found;
  }
  function repaint() {
    for (const place of drawn.keys()) if (place.dataset.drawn) paint(place);
    document.dispatchEvent(new Event("kpig-theme"));
  }

  // Theme: the system's until the switch says another; kept for this page where the browser lets it.
  const THEMES = ["system", "light", "dark"];
  function kept() {
    try { return localStorage.getItem("kpig-theme") || "system"; } catch { return "system"; }
  }
  function wear(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    button.hidden = false;
    button.textContent = `Theme: ${theme}`;
    try { localStorage.setItem("kpig-theme", theme); } catch { /* a browser that keeps nothing */ }
  }
  function isDark() {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  // Tables: `table.sortable` sorts by its headings; one of many rows is searched and paged too.
  const MOST_ROWS = 60;
  async function sortable(root = document) {
    const tables = [...root.querySelectorAll("table.sortable")].filter((one) => one.tBodies[0] && one.tBodies[0].rows.length > 1);
    if (!tables.length) return;
    await library("tables");
    for (const table of tables) {
      table.classList.remove("sortable");
      const isLong = table.tBodies[0].rows.length > MOST_ROWS;
      new DataTable(table, {
        order: [], autoWidth: false, paging: isLong, pageLength: MOST_ROWS, searching: isLong, info: isLong, lengthChange: false,
        layout: { topStart: null, topEnd: isLong ? "search" : null, bottomStart: isLong ? "info" : null, bottomEnd: isLong ? "paging" : null },
      });
      table.dataset.sorted = "ready";
    }
  }

  /** Regions that scroll sideways are reached by Tab, and say so where something is out of sight. */
  function scrolling(root = document) {
    for (const place of root.querySelectorAll(".scroll")) {
      if (place.dataset.cued) continue;
      place.dataset.cued = "yes";
      const cue = element("div", { class: "more" }, "more columns: scroll sideways →");
      place.after(cue);
      const check = () => {
        const isWide = place.scrollWidth > place.clientWidth + 1;
        cue.classList.toggle("shown", isWide);
        if (isWide) place.tabIndex = 0; else place.removeAttribute("tabindex");
      };
      new ResizeObserver(check).observe(place);
      check();
    }
  }

  function follow() {
    const links = [...document.querySelectorAll(".bar nav a")];
    const places = links.map((link) => document.querySelector(link.hash)).filter(Boolean);
    const mark = () => {
      const line = 90;
      let current = places[0];
      for (const place of places) if (place.getBoundingClientRect().top <= line) current = place;
      for (const link of links) {
        if (current && link.hash === `#${current.id}`) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    };
    if (!places.length) return;
    addEventListener("scroll", mark, { passive: true });
    mark();
  }

  document.getElementById("too-old").hidden = "DecompressionStream" in window;
  wear(kept());
  document.getElementById("theme").addEventListener("click", () => {
    const now = THEMES.indexOf(document.documentElement.dataset.theme || "system");
    wear(THEMES[(now + 1) % THEMES.length]);
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  scrolling();
  sortable();
  follow();

  return { data, element, label, number, plot, sortable, scrolling, isDark };
})();
