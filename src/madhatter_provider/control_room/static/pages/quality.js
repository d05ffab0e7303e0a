// Gates, rules that fail, reports, and the quarantine by rule.
import { address, ask } from "../ask.js";
import { runLink } from "../airflow_links.js";
import { PERIODS, choice, periodOf, remember } from "../choice.js";
import { chartFault, definedChart } from "../charts/defined.js";
import { figure } from "../charts/figure.js";
import { el } from "../dom.js";
import { CSV_ROWS, ago, moment, percent, whole } from "../format.js";
import { keepLive } from "../live.js";
import { notice, staleNotice, state } from "../notices.js";
import { redraw } from "../redraw.js";
import { tiles } from "../tiles.js";

const streamLink = (name) => el("a", { href: address("stream", { name }), text: name });
const decided = (kind) => (r) => {
  if (r[`${kind}_fail`]) return state("bad", `${whole(r[`${kind}_fail`])} failed`);
  if (r[`${kind}_warn`]) return state("warn", `${whole(r[`${kind}_warn`])} with warnings`);
  return r[`${kind}_pass`] ? state("ok", `${whole(r[`${kind}_pass`])} passed`) : state("", "not judged");
};
const reportLink = (r) => (r.report ? el("a", { href: address("report", { stream: r.stream, round_id: r.round_id }), text: "Report" }) : "");

const GATES = [
  { title: "Stream", head: true, value: (r) => streamLink(r.stream) },
  { title: "Fast gate", value: decided("gate") },
  { title: "Deep gate", value: decided("deep_gate") },
  { title: "Not yet deep", number: true, value: (r) => whole(r.not_yet) },
  { title: "Quarantined", number: true, kind: (r) => (r.rows_quarantined ? "warn" : ""), value: (r) => percent(r.rows_quarantined, (r.rows_quarantined ?? 0) + (r.rows_loaded ?? 0)) },
];
const FAILING = [
  { title: "Stream", head: true, value: (r) => streamLink(r.stream) },
  { title: "Severity", value: (r) => state(r.severity === "critical" ? "bad" : "warn", r.severity) },
  { title: "Expectation", class: "text", value: (r) => r.expectation },
  { title: "Column", value: (r) => el("span", { class: "mono", text: r.column_name ?? "" }) },
  { title: "Observed", class: "text", value: (r) => r.observed ?? "" },
  { title: "Rows against it", number: true, value: (r) => whole(r.rows_unexpected) },
  { title: "Checked", class: "one-line", value: (r) => moment(r.checked_at) },
  { title: "", value: (r) => el("span", { class: "row" }, reportLink(r), r.dag_id ? runLink(r.dag_id, r.round_id, "Run") : null) },
];
const ROUNDS = [
  { title: "Stream", head: true, value: (r) => streamLink(r.stream) },
  { title: "Expectations", number: true, value: (r) => whole(r.expectations) },
  { title: "Failed", number: true, kind: (r) => (r.failed ? "bad" : ""), value: (r) => whole(r.failed) },
  { title: "Rows", number: true, value: (r) => whole(r.rows_checked) },
  { title: "Checked", class: "one-line", value: (r) => moment(r.checked_at) },
  { title: "", value: (r) => el("span", { class: "row" }, reportLink(r), r.dag_id ? runLink(r.dag_id, r.round_id, "Run") : null) },
];
const QUARANTINED = [
  { title: "Stream", head: true, value: (r) => streamLink(r.stream) },
  { title: "Rule", value: (r) => r.rule ?? "" },
  { title: "Column", value: (r) => el("span", { class: "mono", text: r.column_name ?? "" }) },
  { title: "For example", class: "text", value: (r) => r.example ?? "" },
  { title: "Last seen", class: "one-line", value: (r) => `${ago(r.last_seen)} ago` },
  { title: "Rows", number: true, value: (r) => el("a", { href: address("quarantine", { stream: r.stream, rule: r.rule, column: r.column_name }), text: whole(r.rows_held), "aria-label": `${whole(r.rows_held)} rows of ${r.stream}, ${r.rule ?? "any rule"}` }) },
];

// A table that is cut says so.
const cut = (data, part, text) => {
  const [shown, all] = [data[part].length, data.rows[part]];
  return all > shown ? `${text} Here the worst ${whole(shown)} of ${whole(all)}; the CSV file has ${all > CSV_ROWS ? whole(CSV_ROWS) : "all"}.` : text;
};

// Sums over everything, not over the rows that are shown.
function summary({ totals, rows }) {
  return tiles([
    { title: "Failed gates", value: whole(totals.failed_gates), kind: totals.failed_gates ? "bad" : "" },
    { title: "Failing rules", value: whole(rows.failing), kind: totals.critical ? "bad" : rows.failing ? "warn" : "" },
    { title: "Not yet deep-gated", value: whole(totals.not_yet), note: "ranges" },
    { title: "In quarantine", value: whole(totals.held), note: "rows", kind: totals.held ? "warn" : "" },
  ]);
}

// What the server says of the charts; if it refuses, the tables are shown nevertheless.
const askForCharts = (wanted) => ask("api/quality/charts", wanted).catch((fault) => ({ refused: fault, charts: [] }));

// What a round has found that a task's button leads to, also if it is not the newest.
async function askForRound(round) {
  if (!round) return { rows: [] };
  return ask("api/round", { round_id: round }).catch((fault) => ({ refused: fault, rows: [] }));
}
function roundNotice(round, linked) {
  if (!round || linked.rows.length) return null;
  const nothing = { what: `There is no result of round ${round}`, remedy: "It found nothing new to judge, or its streams are not yours to see." };
  return notice(linked.refused ?? nothing, "warn");
}
const withRound = (rows, linked) => [...linked.filter((l) => !rows.some((r) => r.stream === l.stream && r.round_id === l.round_id)), ...rows];

export async function show(main, { session, query }) {
  document.title = "Quality";
  const message = el("div");
  const sums = el("div");
  const parts = el("div", { class: "grid" });
  const wanted = { period: periodOf(query) };
  const round = query.get("round_id") ?? "";
  const marked = (r) => round !== "" && r.round_id === round;
  const periods = choice("Period of the lines over time", { "": "Usual periods", ...PERIODS }, wanted.period, (period) => {
    wanted.period = period;
    remember({ ...wanted, round_id: round });
    refresh();
  });
  periods.hidden = true;
  main.replaceChildren(el("div", { class: "head" }, el("div", {}, el("h1", { text: "Quality" }), el("p", { class: "quiet", text: "Gates, rules that fail, and what is in quarantine." })), periods), message, sums, parts);
  parts.append(el("p", { class: "empty wide", text: "Loading …" }));
  const refresh = keepLive({
    seconds: session.refresh_seconds,
    load: async () => {
      const [data, drawn, linked] = await Promise.all([ask("api/quality"), askForCharts(wanted), askForRound(round)]);
      const refused = linked.refused ?? drawn.refused ?? chartFault(drawn.charts);
      return { ...data, drawn, linked, fault: data.fault ?? drawn.fault, refused };
    },
    draw: (data) => {
      periods.hidden = !data.drawn.has_period;
      redraw(message, staleNotice(data), roundNotice(round, data.linked));
      redraw(sums, summary(data));
      redraw(parts,
        figure({ id: "failing", title: "Failing rules", text: cut(data, "failing", "Expectations whose newest result is a failure."), wide: true, rows: data.failing, columns: FAILING, marked, csv: "api/quality/failing.csv", nothing: data.rounds.length ? "Every expectation holds." : "The deep gate has judged nothing yet." }),
        figure({ id: "quarantined", title: "Quarantine", text: cut(data, "quarantined", "The number of rows leads to the rows."), wide: true, rows: data.quarantined, columns: QUARANTINED, csv: "api/quality/quarantined.csv", nothing: "No message is held back." }),
        figure({ id: "gates", title: "Gates", text: cut(data, "gates", "Decisions over all ranges of the ledger."), wide: true, rows: data.gates, columns: GATES, csv: "api/quality/gates.csv", nothing: "The ledger is empty." }),
        ...data.drawn.charts.map((chart) => definedChart(chart, address(`api/dashboards/quality/${chart.id}.csv`, wanted))),
        data.drawn.refused ? el("div", { class: "wide" }, notice(data.drawn.refused, "warn")) : null,
        figure({ id: "rounds", title: "Reports", text: cut(data, "rounds", "The newest round of the deep gate by stream."), wide: true, rows: withRound(data.rounds, data.linked.rows), columns: ROUNDS, marked, csv: "api/quality/rounds.csv", nothing: "The deep gate has judged nothing yet." }));
    },
    fail: (fault) => {
      redraw(message, notice(fault));
      if (!parts.querySelector("[data-figure]")) parts.replaceChildren();
    },
  });
  await refresh();
}
