// One fraud case, above the page Fraud: what is known, what to do, its alerts, what was done.
import { runLink, taskLink } from "./airflow_links.js";
import { figure } from "./charts/figure.js";
import { el } from "./dom.js";
import { ago, moment, number, plural, whole } from "./format.js";
import { notice, state } from "./notices.js";
import { redraw } from "./redraw.js";
import { tiles } from "./tiles.js";

const STATES = { released: "ok", blocked: "bad" };
const SEVERITIES = { critical: "bad", high: "bad", medium: "warn" };
const STEPS = {
  opened: "Opened", held: "Orders held", asked: "A person was asked", blocked: "Decided: block", released: "Decided: release",
  unanswered: "Nobody answered in time", "account blocked": "Account blocked", "orders cancelled": "Orders cancelled", "orders released": "Orders released",
};

const money = (amount, currency) => (amount === null ? "" : `${number(amount)} ${currency ?? ""}`);
const by = (c) => `by ${c.decided_by ?? "nobody"}, ${moment(c.decided_at)}`;

const SAID = {
  open: () => "Nothing is held and nobody is asked: its alerts are not grave.",
  held: () => "Its orders are held. A person is asked as soon as a question is free.",
  asked: (c) => `Its orders are held. A person is asked whether to block the account, until ${moment(c.asked_until)}.`,
  unanswered: (c) => `Nobody answered in time. The orders stay held. To ask again, start a run of DAG fraud_decisions with case_id ${c.case_id}.`,
  blocked: (c) => `The account is blocked, and its orders are cancelled: decided ${by(c)}.`,
  released: (c) => `The account is not blocked, and its orders are released: decided ${by(c)}.`,
};

const ALERTS = [
  { title: "Alert", head: true, class: "one-line", value: (r) => moment(r.alert_time) },
  { title: "Severity", value: (r) => state(SEVERITIES[r.severity] ?? "", r.severity) },
  { title: "Rule", class: "text", value: (r) => r.rule },
  { title: "Why", class: "text", value: (r) => r.reason ?? "" },
  { title: "Payment", class: "one-line", value: (r) => el("span", { class: "mono", text: r.transaction_id }) },
  { title: "Amount", number: true, value: (r) => money(r.amount, r.currency) },
  { title: "Country", value: (r) => r.country },
  { title: "Order", value: (r) => r.order_state ?? "not held" },
];

function what(step) {
  const words = STEPS[step.step] ?? step.step;
  const orders = step.orders ? `${plural(step.orders, "order")}, ${money(step.amount, step.currency)}` : "";
  const until = step.asked_until ? `until ${moment(step.asked_until)}` : "";
  return el("div", {}, words, ...[orders, until].filter(Boolean).map((text) => el("span", { class: "sub", text })));
}

function where(step) {
  if (!step.run_id) return "";
  return step.task_id ? questionLink(step, "Question") : runLink(step.dag_id, step.run_id, "Run");
}

const questionLink = (step, text, kind) => taskLink({ dagId: step.dag_id, runId: step.run_id, taskId: step.task_id, mapIndex: step.map_index, page: "required_actions" }, text, kind);

const DONE = [
  { title: "When", head: true, class: "one-line", value: (r) => moment(r.done_at) },
  { title: "What", class: "text", value: what },
  { title: "By", class: "text", value: (r) => r.done_by ?? "" },
  { title: "Note", class: "text", value: (r) => r.note ?? "" },
  { title: "", value: where },
];

function known(c) {
  return tiles([
    { title: "Customer", value: c.customer_id },
    { title: "Alerts", value: whole(c.alerts), note: (c.rules ?? "").split(",").join(", ") },
    { title: "Alerted payments", value: money(c.amount, c.currency) },
    { title: "Opened", value: ago(c.opened_at), note: "ago" },
    { title: "Payments since", value: whole(c.open_orders), note: c.open_orders ? `${number(c.open_amount)} authorized` : "" },
    { title: "30 days before", value: plural(c.transactions_30d ?? 0, "payment"), note: c.transactions_30d ? `${plural(c.devices_30d ?? 0, "device")}, ${number(c.spend_30d)} authorized` : "nothing is known" },
  ]);
}

function missing(id) {
  return notice({
    what: `There is no case ${id}`,
    remedy: "A case is opened when the alert's slice is read, as a rule within a minute of the notification. This page looks again by itself. If it stays away, look at the DAG fraud_response, and into the quarantine of fraud_alerts.",
  }, "warn");
}

// Draws what the server says of a case into a place of the page.
export function drawCase(place, id, said) {
  if (said.refused) return redraw(place, notice(said.refused));
  if (!said.case) return redraw(place, missing(id));
  const c = said.case;
  const asked = said.steps.findLast((step) => step.step === "asked");
  return redraw(place,
    el("section", { class: "part", "aria-labelledby": "case-title", "data-case": c.case_id },
      el("div", { class: "head" },
        el("div", { class: "row" }, el("h2", { id: "case-title", text: `Case ${c.case_id}` }), state(STATES[c.status] ?? "warn", c.status), state(SEVERITIES[c.severity] ?? "", c.severity)),
        el("div", { class: "row" }, c.status === "asked" && asked ? questionLink(asked, "Answer in Airflow", "button first") : null,
          el("a", { class: "button plain", href: "fraud", text: "Close" }))),
      el("p", { text: (SAID[c.status] ?? (() => c.status))(c) }),
      c.note ? el("p", { class: "quiet", text: `Note: ${c.note}` }) : null,
      known(c),
      figure({ id: "case_alerts", title: "Alerts of the case", rows: said.alerts, columns: ALERTS }),
      figure({ id: "case_steps", title: "What was done", rows: said.steps, columns: DONE })));
}
