/* Keeps #live as the server has it now, and loads a report anew when a step of its run is done. */
"use strict";
(() => {
  const shown = document.getElementById("shown");
  const lost = document.getElementById("lost");
  const live = () => document.getElementById("live");

  async function fetched() {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
  }
  function put(found) {
    const focused = live().contains(document.activeElement) ? document.activeElement.id : "";
    const [before, after] = [live().dataset.stamp, found.dataset.stamp];
    live().replaceWith(document.adoptNode(found));
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    kpig.scrolling(live());
    if (shown && before !== after) renew();
  }
  /** Load the report again and go back to where it was read; a page that lay in a folder lets nobody look. */
  function renew() {
    try {
      const place = shown.contentWindow.scrollY;
      shown.addEventListener("load", () => shown.contentWindow.scrollTo(0, place), { once: true });
    } catch { /* it begins at its top */ }
    shown.src = `page?at=${Date.now()}`;
  }
  async function look() {
    if (!document.hidden) {
      try {
        put(await fetched());
        lost.hidden = true;
      } catch {
        lost.hidden = false;
      }
    }
    setTimeout(look, 1000 * Number(live().dataset.seconds));
  }
  document.getElementById("renew")?.addEventListener("click", renew);
  setTimeout(look, 1000 * Number(live().dataset.seconds));
})();
