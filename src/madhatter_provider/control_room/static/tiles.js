// Figures at a glance: {title, value, note, kind}.
import { el } from "./dom.js";

export const tiles = (items) =>
  el("dl", { class: "tiles" }, ...items.map((item) =>
    el("div", { class: `tile ${item.kind ?? ""}`.trim() },
      el("dt", { text: item.title }),
      el("dd", {}, String(item.value), item.note ? el("small", { text: ` ${item.note}` }) : null))));
