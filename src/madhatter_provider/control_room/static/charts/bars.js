// Horizontal bars, the longest first. bars: [{name, value, more: [text, …]}].
import { el, svg } from "../dom.js";
import { makeTip } from "./tip.js";

const ROW = 28;
const VALUE = 70;
const GAP = 10;

// Names as long as there is room for them: at most two fifths of the width.
function labelsOf(bars, width) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const most = Math.floor(0.4 * width) - GAP;
  const fit = (name) => {
    if (pen.measureText(name).width <= most) return name;
    let length = name.length - 1;
    while (length > 1 && pen.measureText(`${name.slice(0, length)}…`).width > most) length -= 1;
    return `${name.slice(0, length)}…`;
  };
  const names = bars.map((bar) => fit(bar.name));
  return { names, room: Math.max(0, ...names.map((name) => pen.measureText(name).width)) + GAP };
}

export function barChart(bars, { label, value }) {
  const top = Math.max(...bars.map((b) => b.value ?? 0), Number.MIN_VALUE);
  const height = bars.length * ROW;
  const plot = el("div", { class: "plot", role: "img", "aria-label": `${label}: ${bars.map((b) => `${b.name} ${value(b.value)}`).join(", ")}` });
  const tip = makeTip(plot);
  let drawing = svg("svg");

  function draw() {
    const width = Math.max(260, plot.clientWidth);
    const { names, room } = labelsOf(bars, width);
    const scale = (v) => (v === null ? 0 : Math.max(2, (v / top) * (width - room - VALUE)));
    const next = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" },
      ...bars.flatMap((bar, i) => [
        svg("text", { class: "bar-label", x: room - GAP, y: i * ROW + 18, "text-anchor": "end", text: names[i] }),
        svg("rect", { class: "s1", "data-bar": i, x: room, y: i * ROW + 6, width: scale(bar.value).toFixed(1), height: ROW - 12, rx: 3 }),
        svg("text", { class: "bar-value", x: room + scale(bar.value) + 8, y: i * ROW + 18, text: value(bar.value) }),
      ]));
    drawing.replaceWith(next);
    drawing = next;
  }

  plot.append(drawing);
  plot.addEventListener("pointermove", (e) => {
    const i = Math.floor((e.clientY - plot.getBoundingClientRect().top) / ROW);
    if (bars[i]) tip.show(e.clientX - plot.getBoundingClientRect().left, i * ROW + 26, bars[i].name, bars[i].more);
  });
  plot.addEventListener("pointerleave", tip.hide);
  new ResizeObserver(draw).observe(plot);
  return plot;
}
