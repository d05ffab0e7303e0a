// Draws a part anew without taking the place of the reader: scroll positions and the focus stay.
export function redraw(parent, ...nodes) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const key = focused?.dataset.key ?? focused?.getAttribute("href") ?? focused?.textContent;
  const tag = focused?.tagName;
  const scrolls = [...parent.querySelectorAll(".scroll")].map((s) => s.scrollLeft);
  parent.replaceChildren(...nodes.filter(Boolean));
  [...parent.querySelectorAll(".scroll")].forEach((s, i) => (s.scrollLeft = scrolls[i] ?? 0));
  if (!focused) return;
  const again = [...parent.querySelectorAll(tag)].find(
    (n) => (n.dataset.key ?? n.getAttribute("href") ?? n.textContent) === key);
  again?.focus({ preventScroll: true });
}
