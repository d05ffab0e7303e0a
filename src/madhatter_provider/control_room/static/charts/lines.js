// Lines over time. series: [{name, points: [[ms, value], …]}]; format(value) -> text. Arrow keys move the cursor.
import { el, svg } from "../dom.js";
import { compact, moment } from "../format.js";
import { niceTop, tickText, timeTicks } from "./scales.js";
import { makeTip } from "./tip.js";

const HEIGHT = 190;
const EDGE = { top: 10, right: 8, bottom: 22, left: 46 };

function frame(series) {
  const all = series.flatMap((s) => s.points);
  const times = [...new Set(all.map(([t]) => t))].sort((a, b) => a - b);
  const top = niceTop(Math.max(0, ...all.map(([, v]) => v)));
  const pad = times.length === 1 ? 60e3 : 0; // a single point stands in the middle
  return { times, top, from: times[0] - pad, to: times.at(-1) + pad };
}

function axes({ from, to, top }, x, y, width, format) {
  const parts = [0, 0.5, 1].flatMap((share) => [
    svg("line", { class: `grid-line${share ? "" : " base"}`, x1: EDGE.left, x2: width - EDGE.right, y1: y(top * share), y2: y(top * share) }),
    svg("text", { x: EDGE.left - 8, y: y(top * share) + 4, "text-anchor": "end", text: format(top * share) }),
  ]);
  const ticks = timeTicks(from, to, Math.max(2, Math.floor(width / 110)));
  return [...parts, ...ticks.map((t) =>
    svg("text", { x: x(t), y: HEIGHT - 5, "text-anchor": "middle", text: tickText(t) }))];
}

export function legend(series) {
  if (series.length < 2) return null;
  return el("ul", { class: "legend" }, ...series.map((s, i) =>
    el("li", {}, svg("svg", { viewBox: "0 0 18 8", "aria-hidden": "true" }, svg("rect", { class: `s${(i % 6) + 1}`, y: 2, width: 18, height: 4, rx: 2 })), s.name)));
}

export function lineChart(series, { label, format = compact, value = format }) {
  const plot = el("div", { class: "plot", tabindex: "0", role: "group", "aria-label": `${label}. Arrow keys read the values.` });
  const told = el("p", { class: "hidden", "aria-live": "polite" });
  const facts = frame(series);
  const tip = makeTip(plot);
  let drawing = svg("svg");
  let at = -1;
  let x = () => 0;

  function draw() {
    const width = Math.max(220, plot.clientWidth);
    x = (t) => EDGE.left + ((t - facts.from) / (facts.to - facts.from)) * (width - EDGE.left - EDGE.right);
    const y = (v) => HEIGHT - EDGE.bottom - (v / facts.top) * (HEIGHT - EDGE.top - EDGE.bottom);
    const paths = series.flatMap((s, i) => {
      const line = s.points.map(([t, v]) => `${x(t).toFixed(1)},${y(v).toFixed(1)}`).join("L");
      const area = `M${x(s.points[0][0]).toFixed(1)},${y(0)}L${line}L${x(s.points.at(-1)[0]).toFixed(1)},${y(0)}Z`;
      return [series.length === 1 ? svg("path", { class: `area s${i + 1}`, d: area }) : null,
        s.points.length === 1 ? svg("circle", { class: `s${(i % 6) + 1}`, cx: x(s.points[0][0]), cy: y(s.points[0][1]), r: 2.5 })
          : svg("path", { class: `line s${(i % 6) + 1}`, d: `M${line}` })];
    });
    const next = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, "aria-hidden": "true" },
      ...axes(facts, x, y, width, format), ...paths,
      svg("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
    drawing.replaceWith(next);
    drawing = next;
  }

  function point(index) {
    at = Math.max(0, Math.min(facts.times.length - 1, index));
    const t = facts.times[at];
    const lines = series.map((s) => [s.name, s.points.find(([when]) => when === t)?.[1]])
      .filter(([, v]) => v !== undefined).map(([name, v]) => (series.length > 1 ? `${name}: ${value(v)}` : value(v)));
    const cursor = drawing.querySelector(".cursor");
    cursor.setAttribute("x1", x(t));
    cursor.setAttribute("x2", x(t));
    cursor.classList.add("on");
    const title = moment(new Date(t).toISOString());
    tip.show(x(t), 8, title, lines);
    return `${title}: ${lines.join(", ")}`;
  }

  function leave() {
    at = -1;
    tip.hide();
    drawing.querySelector(".cursor")?.classList.remove("on");
  }

  plot.append(drawing, told);
  plot.addEventListener("pointermove", (e) => {
    const here = e.clientX - plot.getBoundingClientRect().left;
    point(facts.times.reduce((best, t, i) => (Math.abs(x(t) - here) < Math.abs(x(facts.times[best]) - here) ? i : best), 0));
  });
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!step) return;
    e.preventDefault();
    told.textContent = point(at < 0 ? facts.times.length - 1 : at + step);
  });
  new ResizeObserver(draw).observe(plot);
  return el("div", {}, plot, legend(series));
}
