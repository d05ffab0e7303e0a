// A chart that a dashboard's file defines: lines, bars, a table or figures.
import { runLink } from "../airflow_links.js";
import { address } from "../ask.js";
import { BUCKETS } from "../choice.js";
import { el } from "../dom.js";
import { CSV_ROWS, NONE, compact, day, moment, number, seconds, whole } from "../format.js";
import { empty, notice, state } from "../notices.js";
import { tiles } from "../tiles.js";
import { barChart } from "./bars.js";
import { figure } from "./figure.js";
import { lineChart } from "./lines.js";

const SERIES = 6;
const KINDS = {
  ok: "ok", pass: "ok", done: "ok", released: "ok", success: "ok", warning: "warn", warn: "warn", open: "warn", held: "warn", asked: "warn", unanswered: "warn",
  critical: "bad", fail: "bad", failed: "bad", blocked: "bad", error: "bad",
};
const TIGHT = new Set(["×"]);
const AXES = { s: seconds, "%": (v) => `${compact(v)} %`, ms: (v) => `${compact(v)} ms` };

export function measured(value, unit) {
  if (typeof value !== "number") return value ?? NONE;
  if (unit === "s") return seconds(value);
  return unit ? `${number(value)}${TIGHT.has(unit) ? "" : " "}${unit}` : number(value);
}

function shown(field, key, row, times) {
  const value = row[key];
  if (value === null || value === undefined) return NONE;
  if (field.as === "day") return day(value);
  if (field.as === "list") return value.split(",").join(", ");
  if (field.as === "time" || times.includes(key)) return moment(value);
  if (field.as === "state") return state(KINDS[value] ?? "", value);
  if (field.as === "run") return row.dag_id ? runLink(row.dag_id, value, "Run") : value;
  if (field.as === "case") return el("a", { class: "mono", href: address("fraud", { case: value }), text: value });
  if (field.as === "code") return el("span", { class: "mono", text: value });
  return measured(value, field.unit);
}

function columnsOf(chart) {
  const times = chart.times ?? [];
  const numeric = (key) => chart.rows.some((r) => typeof r[key] === "number");
  const keys = [];
  if (chart.kind === "lines") keys.push({ title: "Time", head: true, class: "one-line", value: (r) => moment(r.x) });
  if (chart.kind === "bars") keys.push({ title: chart.x.toLowerCase().replaceAll("_", " "), head: true, value: (r) => r.x ?? NONE });
  if (chart.series) keys.push({ title: chart.series.toLowerCase().replaceAll("_", " "), value: (r) => r.series ?? NONE });
  return [...keys, ...chart.fields.map((field, i) => {
    const key = `m${i}`;
    return { title: field.title, number: numeric(key) && !field.as, class: ["time", "day"].includes(field.as) || times.includes(key) ? "one-line" : ["text", "list"].includes(field.as) ? "text" : "", value: (r) => shown(field, key, r, times) };
  })];
}

function seriesOf(chart) {
  const points = (rows, key) => rows.filter((r) => r[key] !== null).map((r) => [Date.parse(r.x), r[key]]).sort((a, b) => a[0] - b[0]);
  if (!chart.series) {
    return chart.fields.map((field, i) => ({ name: field.title, points: points(chart.rows, `m${i}`) })).filter((s) => s.points.length);
  }
  const places = [...new Set(chart.rows.map((r) => r.place))].sort((a, b) => a - b);
  const all = places.map((place) => chart.rows.filter((r) => r.place === place));
  return all.map((rows) => ({ name: String(rows[0].series ?? NONE), points: points(rows, "m0") })).filter((s) => s.points.length).slice(0, SERIES);
}

// What the table and the file have of the series, where the lines are not of all.
function seriesNote(chart) {
  const many = chart.series_count ?? 0;
  if (many <= SERIES) return null;
  const listed = new Set(chart.rows.map((r) => r.series)).size;
  const inTable = listed < many ? `${listed}, the CSV file the newest ${whole(CSV_ROWS)} points of all` : "all";
  return el("p", { class: "quiet small", text: `The ${SERIES} greatest of ${many}; the table has ${inTable}.` });
}

function drawn(chart) {
  const unit = chart.fields[0].unit;
  const value = (v) => String(measured(v, unit));
  if (chart.kind === "lines") {
    return () => {
      const any = chart.rows.some((r) => chart.fields.some((_, i) => r[`m${i}`] !== null));
      if (!any) return empty("Nothing to show", "There are rows, but none has a value yet.");
      const lines = lineChart(seriesOf(chart), { label: chart.title, format: AXES[unit] ?? compact, value });
      return el("div", {}, lines, seriesNote(chart));
    };
  }
  if (chart.kind === "bars") {
    return () => barChart(chart.rows.map((r) => ({ name: String(r.x ?? NONE), value: r.m0, more: chart.fields.map((f, i) => `${f.title}: ${measured(r[`m${i}`], f.unit)}`) })), { label: chart.title, value });
  }
  return null;
}

// The row of the case that the page shows.
function markedRow(chart, caseId) {
  const at = chart.fields.findIndex((field) => field.as === "case");
  return caseId && at >= 0 ? (row) => row[`m${at}`] === caseId : undefined;
}

// Why one of the charts is not there.
export const chartFault = (charts) => charts.find((chart) => chart.fault)?.fault;

export function definedChart(chart, csv, caseId = "") {
  if (chart.kind === "figures") {
    if (chart.fault) return el("div", { class: "wide" }, notice(chart.fault, "warn"));
    const row = chart.rows[0] ?? {};
    return el("div", { class: "wide", "data-figure": chart.id }, tiles(chart.fields.map((f, i) => ({ title: f.title, value: measured(row[`m${i}`], f.unit) }))));
  }
  const text = chart.bucket ? `${chart.text} Here per ${BUCKETS[chart.bucket]}.`.trim() : chart.text;
  return figure({ id: chart.id, title: chart.title, text, wide: chart.wide, rows: chart.rows, columns: columnsOf(chart), chart: drawn(chart), csv, fault: chart.fault, marked: markedRow(chart, caseId),
    nothing: `MARTS.${chart.mart} has no rows here yet.` });
}
