// Horizontal bars, the longest first. bars: [{name, value, more: [text, …]}].
import { el, svg } from "../dom.js";
import { makeTip } from "./tip.js";

const ROW = 28;
const LABEL = 150;
const VALUE = 70;
const CUT = 22;

export function barChart(bars, { label, value }) {
  const top = Math.max(...bars.map((b) => b.value ?? 0), Number.MIN_VALUE);
  const height = bars.length * ROW;
  const plot = el("div", { class: "plot", role: "img", "aria-label": `${label}: ${bars.map((b) => `${b.name} ${value(b.value)}`).join(", ")}` });
  const tip = makeTip(plot);
  let drawing = svg("svg");

  function draw() {
    const width = Math.max(260, plot.clientWidth);
    const scale = (v) => Math.max(2, ((v ?? 0) / top) * (width - LABEL - VALUE));
    const next = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" },
      ...bars.flatMap((bar, i) => {
        const name = bar.name.length > CUT ? `${bar.name.slice(0, CUT - 1)}…` : bar.name;
        return [
          svg("text", { class: "bar-label", x: LABEL - 10, y: i * ROW + 18, "text-anchor": "end", text: name }),
          svg("rect", { class: "s1", "data-bar": i, x: LABEL, y: i * ROW + 6, width: scale(bar.value).toFixed(1), height: ROW - 12, rx: 3 }),
          svg("text", { class: "bar-value", x: LABEL + scale(bar.value) + 8, y: i * ROW + 18, text: value(bar.value) }),
        ];
      }));
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
