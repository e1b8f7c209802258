"""Texts of an open page whose contrast with their ground is below WCAG 2.2, 1.4.3 (AA)."""

SCRIPT = """() => {
  const channel = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (text) => {
    const [r, g, b] = colour(text).map((one) => channel(one / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (place) => {
    for (let one = place; one; one = one.parentElement) {
      const found = getComputedStyle(one).backgroundColor;
      if (colour(found)[3] === 255) return found;
    }
    return "white";
  };
  const unseen = "svg, script, style, noscript, [disabled], [hidden], .skip";
  const faint = [];
  for (const place of document.querySelectorAll("body *")) {
    const isText = [...place.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
    if (!isText || place.closest(unseen) || !place.getClientRects().length) continue;
    const pair = [light(getComputedStyle(place).color), light(ground(place))];
    const [one, other] = pair.sort((a, b) => b - a);
    if ((one + 0.05) / (other + 0.05) < 4.5) faint.push(place.outerHTML.slice(0, 120));
  }
  return faint;
}"""


def faint_texts(page) -> list:
    """The first letters of every element whose text is too faint; disabled controls may be."""
    return page.evaluate(SCRIPT)
