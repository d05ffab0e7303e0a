// A partition as a strip: its slices from log start to end. What is wrong is drawn last and is never too small to see.
import { el, svg } from "../dom.js";
import { ago, compact, moment, plural, range, whole } from "../format.js";
import { makeTip } from "./tip.js";

const WIDTH = 1000;
const HEIGHT = 24;
const LEAST = 3;
const FOOT = 6; // least height of the part that stands for quarantined rows

export const KINDS = {
  loaded: "Loaded",
  quarantined: "Loaded, some rows in quarantine",
  failed: "A gate failed",
  claimed: "Claimed, not landed yet",
  landed: "Landed, not loaded yet",
  lost: "Lost: retention was faster",
  acknowledged: "Lost, acknowledged",
  gap: "Gap: no run owns these offsets",
  waiting: "Waiting: no run has claimed it yet",
};
const ORDER = ["waiting", "loaded", "quarantined", "acknowledged", "landed", "claimed", "failed", "gap", "lost"];

export function stripLegend(marks) {
  const shown = Object.entries(KINDS).filter(([kind]) => kind === "loaded" || marks.some((m) => m.kind === kind));
  return el("ul", { class: "legend" }, ...shown.map(([kind, text]) =>
    el("li", {}, svg("svg", { viewBox: "0 0 18 10", "aria-hidden": "true" }, svg("rect", { class: `k-${kind}`, x: 1, y: 1, width: 16, height: 8, rx: 1 })), text)));
}

// All marks of a partition, in offset order.
export function marksOf(p) {
  const gaps = p.gaps.map((g) => ({ ...g, kind: "gap", ranges: 1 }));
  const waiting = p.log_end > p.last_offset ? [{ kind: "waiting", start_offset: p.last_offset, end_offset: p.log_end, ranges: 0 }] : [];
  return [...p.marks, ...gaps, ...waiting].sort((a, b) => a.start_offset - b.start_offset);
}

export function wordsOf(mark) {
  const lines = [range(mark.start_offset, mark.end_offset)];
  if (mark.ranges > 1) lines.push(plural(mark.ranges, "slice"));
  if (mark.rows_loaded !== undefined && mark.rows_loaded !== null) lines.push(`${plural(mark.rows_loaded, "row")} loaded`);
  if (mark.rows_quarantined) lines.push(`${plural(mark.rows_quarantined, "row")} in quarantine`);
  if (mark.kind === "gap") lines.push(`${plural(mark.end_offset - mark.start_offset, "offset")} that no run owns`);
  if (mark.run_id) lines.push(mark.ranges > 1 ? `${mark.run_id} and later` : mark.run_id);
  if (mark.loaded_at) lines.push(`loaded ${moment(mark.loaded_at)}`);
  return lines;
}

function shapes(marks, low, high) {
  const x = (offset) => ((offset - low) / Math.max(1, high - low)) * WIDTH;
  const drawn = [...marks.entries()].sort(([, a], [, b]) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
  return drawn.flatMap(([i, mark]) => {
    const wide = Math.max(LEAST, x(mark.end_offset) - x(mark.start_offset));
    const from = Math.min(x(mark.start_offset), WIDTH - wide);
    const rect = (kind, height) => svg("rect", { class: `k-${kind}${kind === "gap" ? "" : " edge"}`, "data-mark": i, x: from.toFixed(2),
      y: HEIGHT - height, width: wide.toFixed(2), height });
    if (mark.kind !== "quarantined") return [rect(mark.kind, HEIGHT)];
    const share = mark.rows_quarantined / Math.max(1, mark.rows_quarantined + (mark.rows_loaded ?? 0));
    return [rect("loaded", HEIGHT), rect("quarantined", Math.max(FOOT, Math.round(share * HEIGHT)))];
  });
}

function summary(p, marks) {
  const wrong = ["gap", "lost", "failed", "claimed", "landed", "quarantined"]
    .map((kind) => [marks.filter((m) => m.kind === kind).length, kind]).filter(([n]) => n)
    .map(([n, kind]) => `${n} × ${KINDS[kind].toLowerCase()}`);
  return `Partition ${p.partition_id}, offsets ${whole(p.first_offset)} to ${whole(p.last_offset)}: ${wrong.join(", ") || "all loaded"}`;
}

// choose(partition, mark) is called when a mark is clicked, or Enter is pressed on it.
export function strip(p, choose) {
  const marks = marksOf(p);
  const low = Math.min(p.first_offset, p.log_start ?? p.first_offset);
  const high = Math.max(p.last_offset, p.log_end ?? p.last_offset);
  const chosen = svg("rect", { class: "chosen", x: -9, y: 1, width: 0, height: HEIGHT - 2 });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...shapes(marks, low, high), chosen);
  const told = el("span", { class: "hidden", "aria-live": "polite" });
  const track = el("div", { class: "track plot", tabindex: "0", role: "group", "data-key": `strip-${p.partition_id}`,
    "aria-label": `${summary(p, marks)}. Arrow keys read the slices, Enter opens one.` }, drawing, told);
  const tip = makeTip(track);
  let at = -1;

  function point(i) {
    at = i;
    const rect = drawing.querySelector(`[data-mark="${i}"]`);
    for (const name of ["x", "width"]) chosen.setAttribute(name, rect.getAttribute(name));
    tip.show((Number(rect.getAttribute("x")) / WIDTH) * track.clientWidth, 30, KINDS[marks[i].kind], wordsOf(marks[i]));
  }
  const leave = () => { at = -1; tip.hide(); chosen.setAttribute("width", 0); chosen.setAttribute("x", -9); };

  drawing.addEventListener("pointermove", (e) => { if (e.target.dataset.mark) point(Number(e.target.dataset.mark)); });
  drawing.addEventListener("click", (e) => { if (e.target.dataset.mark) choose(p, marks[e.target.dataset.mark]); });
  track.addEventListener("pointerleave", leave);
  track.addEventListener("blur", leave);
  track.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (e.key === "Enter" && at >= 0) choose(p, marks[at]);
    if (!step) return;
    e.preventDefault();
    point(Math.max(0, Math.min(marks.length - 1, at < 0 ? marks.length - 1 : at + step)));
    told.textContent = [KINDS[marks[at].kind], ...wordsOf(marks[at])].join(", ");
  });
  return el("div", { class: "strip" },
    el("span", { class: "name", text: `${p.partition_id}`, title: `Partition ${p.partition_id}` }),
    el("div", {}, track, el("div", { class: "ends", "aria-hidden": "true" }, el("span", { text: whole(low) }), el("span", { text: whole(high) }))),
    el("span", { class: "lag" }, el("span", { text: `lag ${whole(p.lag)}` }),
      el("span", { class: "sub", text: p.last_load ? `${compact(p.rows_10m / 10)}/min, ${ago(p.last_load)} ago` : "nothing loaded",
        title: "Rows loaded per minute, of the last 10 minutes, and the last load" })));
}
