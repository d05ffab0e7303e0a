// The messages of a stream that are held back, with their reason and their content as text.
import { address, ask } from "../ask.js";
import { el } from "../dom.js";
import { CSV_ROWS, moment, whole } from "../format.js";
import { keepLive } from "../live.js";
import { empty, notice, staleNotice } from "../notices.js";
import { redraw } from "../redraw.js";
import { pager, table } from "../tables.js";

const opened = new Set();

function message(r) {
  const key = `${r.topic_id}:${r.partition_id}:${r.message_offset}`;
  const details = el("details", { open: opened.has(key) }, el("summary", { "data-key": key, text: "Message" }),
    el("pre", { class: "mono raw", text: r.raw ?? "No value" }), r.cut ? el("p", { class: "small quiet", text: "Cut here; the CSV has all of it." }) : null);
  details.addEventListener("toggle", () => (details.open ? opened.add(key) : opened.delete(key)));
  return details;
}

const COLUMNS = [
  { title: "Sent", class: "one-line", value: (r) => moment(r.sent_at) },
  { title: "Partition", number: true, value: (r) => r.partition_id },
  { title: "Offset", number: true, head: true, value: (r) => whole(r.message_offset) },
  { title: "Rule", value: (r) => r.rule ?? "" },
  { title: "Column", value: (r) => el("span", { class: "mono", text: r.column_name ?? "" }) },
  { title: "Reason", class: "text", value: (r) => el("div", {}, r.reason ?? "", message(r)) },
];

export async function show(main, { session, query }) {
  const stream = query.get("stream") ?? "";
  const wanted = { stream, rule: query.get("rule") ?? "", column: query.get("column") ?? "", page: 0 };
  document.title = `Quarantine of ${stream}`;
  const only = [wanted.rule && `rule ${wanted.rule}`, wanted.column && `column ${wanted.column}`].filter(Boolean).join(", ");
  const words = el("div");
  const list = el("div", { class: "card" }, el("p", { class: "empty", text: "Loading …" }));
  const asked = { stream, rule: wanted.rule, column: wanted.column };
  main.replaceChildren(
    el("div", { class: "head" },
      el("div", {}, el("p", { class: "small row" }, el("a", { href: "quality", text: "Quality" }), el("a", { href: address("stream", { name: stream }), text: stream })),
        el("h1", { text: `Quarantine of ${stream}` }), el("p", { class: "quiet", text: only ? `Only ${only}.` : "All rules." })),
      el("span", { class: "row" }, only ? el("a", { href: address("quarantine", { stream }), text: "All rules" }) : null,
        el("a", { class: "button plain", href: address("api/quarantine.csv", asked), download: "quarantine.csv", text: "CSV" }))),
    words, list,
    el("p", { class: "quiet small", text: `A mended contract judges them again: DAG replay_quarantine, or madhatter quarantine replay ${stream}.` }));
  const refresh = keepLive({
    seconds: session.refresh_seconds,
    load: () => ask("api/quarantine", wanted),
    draw: (data) => {
      redraw(words, staleNotice(data));
      redraw(list, data.rows.length ? table("Quarantined messages", COLUMNS, data.rows) : empty("Nothing is held back", "Or it was replayed meanwhile."),
        pager({ page: data.page, rows: data.page_rows, total: data.total, go: (page) => { wanted.page = page; refresh(); } }),
        data.total > CSV_ROWS ? el("p", { class: "quiet small empty", text: `The CSV file has the newest ${whole(CSV_ROWS)}.` }) : null);
    },
    fail: (fault) => {
      redraw(words, notice(fault));
      if (!list.querySelector("table")) list.replaceChildren();
    },
  });
  await refresh();
}
