// One stream: strips of its partitions, what needs a look, throughput and freshness, runs and replays.
import { address, ask } from "../ask.js";
import { runLink } from "../airflow_links.js";
import { figure } from "../charts/figure.js";
import { lineChart } from "../charts/lines.js";
import { KINDS, marksOf, strip, stripLegend, wordsOf } from "../charts/strip.js";
import { BUCKETS, PERIODS, choice, periodOf, remember } from "../choice.js";
import { el } from "../dom.js";
import { ago, compact, moment, number, percent, plural, range, seconds, whole } from "../format.js";
import { keepLive } from "../live.js";
import { brokerNotice, empty, notice, staleNotice, state } from "../notices.js";
import { redraw } from "../redraw.js";
import { openReplay } from "../replay_dialog.js";
import { pager, table } from "../tables.js";
import { tiles } from "../tiles.js";
import { stateOf } from "./streams.js";

const RUN_STATES = { success: "ok", failed: "bad", running: "busy", queued: "busy" };
const runState = (text) => (text ? state(RUN_STATES[text] ?? "", text) : state("", "not in Airflow"));

const MARK_COLUMNS = [
  { title: "Partition", number: true, value: (m) => m.partition_id },
  { title: "What", value: (m) => KINDS[m.kind] },
  { title: "From", number: true, value: (m) => whole(m.start_offset) },
  { title: "To, exclusive", number: true, value: (m) => whole(m.end_offset) },
  { title: "Slices", number: true, value: (m) => whole(m.ranges) },
  { title: "Rows loaded", number: true, value: (m) => whole(m.rows_loaded) },
  { title: "Quarantined", number: true, value: (m) => whole(m.rows_quarantined) },
  { title: "Last load", class: "one-line", value: (m) => moment(m.loaded_at) },
];

const RUN_COLUMNS = [
  { title: "Run", head: true, class: "text", value: (r) => (r.airflow_state ? runLink(r.dag_id, r.run_id) : r.run_id) },
  { title: "In Airflow", value: (r) => runState(r.airflow_state) },
  { title: "Claimed", class: "one-line", value: (r) => moment(r.claimed_at) },
  { title: "Loaded", class: "one-line", value: (r) => moment(r.loaded_at) },
  { title: "Offsets", number: true, value: (r) => whole(r.offsets) },
  { title: "Rows loaded", number: true, value: (r) => whole(r.rows_loaded) },
  { title: "Quarantined", number: true, kind: (r) => (r.rows_quarantined ? "warn" : ""), value: (r) => whole(r.rows_quarantined) },
];

const REPLAY_COLUMNS = [
  { title: "Replay", head: true, value: (r) => el("span", { class: "mono", text: r.id }) },
  { title: "State", value: (r) => state(r.state === "done" ? "ok" : "busy", r.state) },
  { title: "Begun", class: "one-line", value: (r) => moment(r.begun_at) },
  { title: "Reason", class: "text", value: (r) => r.reason },
  { title: "By", class: "text", value: (r) => r.requested_by },
  { title: "Rows", number: true, value: (r) => `${whole(r.rows_before)} → ${whole(r.rows_after)}` },
  { title: "Quarantined", number: true, value: (r) => `${whole(r.quarantined_before)} → ${whole(r.quarantined_after)}` },
];

// In a bucket without a load nothing was loaded: the line goes down to zero.
function everyBucket(loads, { hours, bucket }) {
  const [step, now] = [bucket * 60e3, Date.now()];
  const rows = new Map(loads.map((r) => [Date.parse(r.loaded_from), r.rows_loaded]));
  const filled = [];
  for (let t = Math.ceil((now - hours * 3600e3) / step) * step; t <= now; t += step) filled.push([t, rows.get(t) ?? 0]);
  return filled;
}

const points = (rows, field) => rows.filter((r) => r[field] !== null).map((r) => [Date.parse(r.loaded_from), r[field]]);

function figures(s, data) {
  const lags = data.partitions.map((p) => p.lag);
  const lag = lags.includes(null) || data.partition_count > data.partitions.length ? null : lags.reduce((a, b) => a + b, 0);
  const last = data.loads.at(-1)?.seconds_to_load;
  return tiles([
    { title: "Lag", value: whole(lag), note: lag === null ? "see partitions" : "messages" },
    { title: "Last load", value: ago(s.last_load), note: "ago" },
    { title: "Newest event", value: ago(s.newest_event), note: "ago" },
    { title: "Event to loaded", value: seconds(last), note: "oldest event" },
    { title: "Rows per minute", value: compact((s.rows_10m ?? 0) / 10), note: "last 10 min" },
    { title: "Rows loaded", value: compact(s.rows_loaded ?? 0) },
    { title: "Quarantined", value: percent(s.rows_quarantined, (s.rows_quarantined ?? 0) + (s.rows_loaded ?? 0)), kind: s.rows_quarantined ? "warn" : "" },
  ]);
}

function troubleText(t) {
  if (t.kind === "failed") return `${t.gate === "fail" ? "Fast" : "Deep"} gate failed`;
  return `${KINDS[t.kind]}, since ${ago(t.claimed_at)}`;
}

export async function show(main, { session, query }) {
  const name = query.get("name") ?? "";
  const linked = { run: query.get("run") ?? "", replay: query.get("replay_id") ?? "" }; // what a task's button leads to
  const wanted = { name, epoch: query.get("epoch") ?? "", page: 0, period: periodOf(query) || "1h", ...linked };
  document.title = name;
  const part = () => el("div");
  const [facts, message, strips, lines, troubles, runs, replays] = [part(), part(), el("div"), el("div", { class: "grid" }), part(), part(), part()];
  const detail = el("p", { class: "quiet small" });
  const epochs = el("span");
  const standing = el("span");
  const replay = (more = {}) => openReplay({ session, stream: name, ...more, done: () => refresh() });
  const change = (more) => {
    Object.assign(wanted, more);
    remember({ name, epoch: wanted.epoch, period: wanted.period === "1h" ? "" : wanted.period, run: linked.run, replay_id: linked.replay });
    refresh();
  };

  const troubleColumns = [
    { title: "Partition", number: true, value: (t) => t.partition_id },
    { title: "Offsets", head: true, class: "one-line", value: (t) => range(t.start_offset, t.end_offset) },
    { title: "What", value: (t) => state(["lost", "failed"].includes(t.kind) ? "bad" : "warn", troubleText(t)) },
    { title: "Run", class: "text", value: (t) => (t.run_id ? runLink(t.dag_id, t.run_id) : "") },
    { title: "", value: (t) => (session.may_replay && t.kind === "failed" ? el("button", { type: "button", class: "plain", "data-key": `fix-${t.partition_id}-${t.start_offset}`, text: "Replay …",
      onclick: () => replay({ epoch: wanted.epoch, start: `${t.partition_id}:${t.start_offset}`, end: `${t.partition_id}:${t.end_offset}` }) }) : "") },
  ];

  function drawStrips(data) {
    const choose = (p, mark) => {
      detail.replaceChildren(el("b", { text: `Partition ${p.partition_id}: ${KINDS[mark.kind]}. ` }), `${wordsOf(mark).join(" · ")} `);
      if (mark.dag_id && mark.run_id && mark.ranges === 1) detail.append(" ", runLink(mark.dag_id, mark.run_id, "Open the run"));
      if (session.may_replay && mark.kind !== "waiting") detail.append(" ", el("button", { type: "button", class: "plain", text: "Replay this range …",
        onclick: () => replay({ epoch: data.epoch, start: `${p.partition_id}:${mark.start_offset}`, end: `${p.partition_id}:${mark.end_offset}` }) }));
    };
    const all = data.partitions.flatMap((p) => marksOf(p).map((m) => ({ partition_id: p.partition_id, ...m })));
    redraw(strips,
      figure({ id: "slices", title: "Slices", text: "Every partition from log start to end. Choose a slice to see it.", rows: all, columns: MARK_COLUMNS,
        csv: address("api/stream/slices.csv", { name, epoch: data.epoch }),
        chart: () => el("div", {}, el("div", { class: "strips" }, ...data.partitions.map((p) => strip(p, choose))), el("div", { class: "body" }, stripLegend(all))) }),
      pager({ page: data.page, rows: data.page_rows, total: data.partition_count, go: (page) => change({ page }) }));
  }

  function draw(data) {
    const s = data.stream;
    redraw(standing, stateOf(s));
    redraw(epochs, data.epochs.length > 1 ? el("select", { "aria-label": "Epoch of the topic", "data-key": "epoch", onchange: (e) => change({ epoch: e.target.value, page: 0 }) },
      ...data.epochs.map((e, i) => el("option", { value: e.topic_id, selected: e.topic_id === data.epoch, text: `${i ? "Earlier" : "Present"} epoch ${e.topic_id}` }))) : null);
    redraw(message, staleNotice(data), brokerNotice(data.broker), data.topic_fault ? notice(data.topic_fault, "warn") : null,
      data.epoch !== s.topic_id ? notice({ what: "This is an earlier epoch of the topic", remedy: "The topic was deleted and created again; its messages are gone from Kafka, its landing files may be there." }, "warn") : null);
    redraw(facts, figures(s, data));
    drawStrips(data);
    const csv = address("api/stream/loads.csv", { name, period: data.period });
    const [last, per] = [PERIODS[data.period].toLowerCase(), BUCKETS[data.bucket]];
    const nothing = `Nothing was loaded in the ${last}.`;
    redraw(lines,
      figure({ id: "throughput", title: "Throughput", text: `Rows loaded per ${per}, ${last}.`, csv, rows: data.loads, nothing,
        columns: [{ title: "From", head: true, value: (r) => moment(r.loaded_from) }, { title: "Rows loaded", number: true, value: (r) => whole(r.rows_loaded) }, { title: "Quarantined", number: true, value: (r) => whole(r.rows_quarantined) }],
        chart: () => lineChart([{ name: "Rows", points: everyBucket(data.loads, data) }], { label: `Rows loaded per ${per} of ${name}`, value: (v) => plural(v, "row") }) }),
      figure({ id: "freshness", title: "Freshness", text: `Seconds from the oldest event of a load until it is loaded: the longest per ${per}, ${last}.`, csv, rows: data.loads.filter((r) => r.seconds_to_load !== null), nothing,
        columns: [{ title: "From", head: true, value: (r) => moment(r.loaded_from) }, { title: "Seconds", number: true, value: (r) => number(r.seconds_to_load) }],
        chart: () => lineChart([{ name: "Seconds", points: points(data.loads, "seconds_to_load") }], { label: `Seconds from event to loaded of ${name}`, value: seconds }) }));
    redraw(troubles, data.troubles.length ? figure({ id: "troubles", title: "Needs a look", rows: data.troubles, columns: troubleColumns,
      text: "Claimed ranges that stay unloaded belong to a run that failed: clear it, and it lands the same range again." }) : null);
    redraw(runs, figure({ id: "runs", title: "Last runs", rows: data.runs, columns: RUN_COLUMNS, marked: (r) => r.run_id === linked.run, nothing: "No run that you may read." }));
    redraw(replays, data.replays.length ? figure({ id: "replays", title: "Replays", rows: data.replays, columns: REPLAY_COLUMNS, marked: (r) => r.id === linked.replay }) : null);
  }

  main.replaceChildren(
    el("div", { class: "head" },
      el("div", {}, el("p", { class: "small" }, el("a", { href: "streams", text: "Streams" })), el("div", { class: "row" }, el("h1", { text: name }), standing)),
      el("div", { class: "row" }, epochs, session.may_replay ? el("button", { type: "button", text: "Replay …", onclick: () => replay({ epoch: wanted.epoch }) }) : null)),
    message, facts, strips, detail, troubles,
    el("div", { class: "row" }, choice("Period of throughput and freshness", PERIODS, wanted.period, (period) => change({ period }))), lines, runs, replays);
  strips.append(el("p", { class: "empty", text: "Loading …" }));

  const refresh = keepLive({
    seconds: session.refresh_seconds,
    load: () => ask("api/stream", wanted),
    draw,
    fail: (fault) => {
      redraw(message, notice(fault));
      if (fault.status === 404) redraw(strips, empty("No such stream", "It may have another name, or nothing of it was claimed."));
      else if (!strips.querySelector("[data-figure]")) strips.replaceChildren();
    },
  });
  await refresh();
  if (query.get("replay") && session.may_replay) {
    replay({ epoch: wanted.epoch, start: query.get("from") ?? "", end: query.get("to") ?? "", run: query.get("run") ?? "" });
  }
}
