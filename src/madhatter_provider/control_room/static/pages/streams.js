// All streams: sums, search, and a page of the list, the worst first.
import { address, ask } from "../ask.js";
import { spark } from "../charts/spark.js";
import { choice, remember } from "../choice.js";
import { el } from "../dom.js";
import { ago, compact, percent, plural, whole } from "../format.js";
import { keepLive } from "../live.js";
import { brokerNotice, empty, notice, staleNotice, state } from "../notices.js";
import { redraw } from "../redraw.js";
import { openReplay } from "../replay_dialog.js";
import { pager, table } from "../tables.js";
import { tiles } from "../tiles.js";

const STATES = { "": "All states", problem: "With a problem", late: "Late", ok: "In order" };

export const troublesOf = (s) => [
  s.lost ? plural(s.lost, "lost range") : "",
  s.gaps ? plural(s.gaps, "gap") : "",
  s.failed_gates ? plural(s.failed_gates, "failed gate") : "",
  s.late ? plural(s.late, "late range") : "",
].filter(Boolean).join(", ");

export function stateOf(s) {
  const words = troublesOf(s);
  if (s.severity === 2) return state("bad", words);
  if (s.severity === 1) return state("warn", words);
  return state("ok", "In order");
}

const COLUMNS = [
  { title: "Stream", sort: "stream", head: true, value: (s) => el("div", {},
    el("a", { href: address("stream", { name: s.stream }), text: s.stream }),
    el("span", { class: "sub", text: plural(s.partitions, "partition") })) },
  { title: "State", sort: "state", value: (s) => el("div", {}, stateOf(s), s.topic_fault ? el("span", { class: "sub", text: s.topic_fault.what }) : null) },
  { title: "Lag", sort: "lag", number: true, value: (s) => (s.topic_fault ? "unknown" : whole(s.lag)) },
  { title: "Last load", sort: "freshness", number: true, value: (s) => ago(s.last_load) },
  { title: "Newest event", number: true, value: (s) => ago(s.newest_event) },
  { title: "Last 30 min", value: (s) => spark(s.loads, `${s.stream}: rows loaded in each of the last 30 minutes`) },
  { title: "Rows/min", sort: "throughput", number: true, value: (s) => compact((s.rows_10m ?? 0) / 10) },
  { title: "Quarantined", sort: "quarantine", number: true, kind: (s) => (s.rows_quarantined ? "warn" : ""),
    value: (s) => (s.rows_quarantined
      ? `${whole(s.rows_quarantined)} (${percent(s.rows_quarantined, s.rows_quarantined + (s.rows_loaded ?? 0))})` : "0") },
];

function summary(data) {
  const t = data.totals;
  return tiles([
    { title: "Streams", value: whole(t.streams) },
    { title: "With a problem", value: whole(t.problem ?? 0), kind: t.problem ? "bad" : "" },
    { title: "Late", value: whole(t.late ?? 0), kind: t.late ? "warn" : "" },
    { title: "Rows per minute", value: compact((t.rows_10m ?? 0) / 10), note: "last 10 min" },
    { title: "Rows loaded", value: compact(t.rows_loaded ?? 0) },
    { title: "Quarantined", value: percent(t.rows_quarantined, (t.rows_quarantined ?? 0) + (t.rows_loaded ?? 0)) },
  ]);
}

export async function show(main, { session, query }) {
  document.title = "Streams";
  const wanted = { search: query.get("search") ?? "", state: query.get("state") ?? "", sort: query.get("sort") ?? "state", direction: query.get("direction") ?? "", page: Number(query.get("page") ?? 0) };
  const sums = el("div");
  const list = el("div", { class: "card" });
  const message = el("div");
  const download = el("a", { class: "button plain", text: "CSV", download: "streams.csv" });
  let typing = null;

  const change = (more) => {
    Object.assign(wanted, { page: 0 }, more);
    remember({ ...wanted, sort: wanted.sort === "state" ? "" : wanted.sort, page: wanted.page || "" });
    refresh();
  };
  const search = el("input", { type: "search", placeholder: "Search streams", "aria-label": "Search streams", value: wanted.search,
    oninput: (e) => { clearTimeout(typing); typing = setTimeout(() => change({ search: e.target.value }), 250); } });

  function draw(data) {
    download.href = address("api/streams.csv", { search: wanted.search, state: wanted.state, sort: wanted.sort, direction: wanted.direction });
    redraw(sums, summary(data));
    redraw(message, staleNotice(data), brokerNotice(data.broker));
    if (data.streams.length) {
      redraw(list, table("Streams", COLUMNS, data.streams, undefined, { sort: data.sort, descending: data.descending, change: (sort, direction) => change({ sort, direction }) }),
        pager({ page: data.page, rows: data.page_rows, total: data.totals.streams, go: (page) => change({ page }) }));
    } else if (wanted.search || wanted.state || wanted.page) {
      redraw(list, empty("No stream matches", "Search for something else, or show all states."));
    } else {
      redraw(list, empty("The ledger is empty", "No slice was claimed yet. A landing DAG claims the first when its topic has messages."));
    }
  }

  main.replaceChildren(
    el("div", { class: "head" },
      el("div", {}, el("h1", { text: "Streams" }),
        el("p", { class: "quiet", text: "Every offset of every topic is in the ledger once, or it shows here." })),
      session.may_replay ? el("button", { type: "button", text: "Replay …", onclick: () => openReplay({ session }) }) : null),
    message, sums,
    el("div", { class: "row" }, search,
      choice("State", STATES, wanted.state, (value) => change({ state: value })),
      el("span", { class: "push" }, download)),
    list);
  list.append(el("p", { class: "empty", text: "Loading …" }));

  const refresh = keepLive({
    seconds: session.refresh_seconds,
    load: () => ask("api/streams", wanted),
    draw,
    fail: (fault) => { redraw(message, notice(fault)); if (!list.querySelector("table")) list.replaceChildren(); },
  });
  await refresh();
}
