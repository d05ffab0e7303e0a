// The box beside the pointer: a title and lines of text.
import { el } from "../dom.js";

export function makeTip(plot) {
  const tip = el("div", { class: "tip", hidden: true });
  plot.append(tip);
  return {
    show(x, y, title, lines) {
      tip.replaceChildren(el("b", { text: title }), ...lines.map((text) => el("span", { text })));
      tip.hidden = false;
      const room = plot.clientWidth - tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(room, x + 12))}px`;
      tip.style.top = `${y}px`;
    },
    hide() {
      tip.hidden = true;
    },
  };
}
