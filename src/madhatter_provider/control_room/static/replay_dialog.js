// The replay dialog: choose, look at the plan, start. The plan must be of exactly what is started.
import { runLink } from "./airflow_links.js";
import { ask, send } from "./ask.js";
import { el, newId } from "./dom.js";
import { plural, range, whole } from "./format.js";
import { notice, state } from "./notices.js";
import { table } from "./tables.js";

const FORMS = "An offset (1000), offsets by partition (0:100,1:50), or a time with its zone (2026-11-24T09:30:00Z).";
const SOURCES = { kafka: ["ok", "Kafka"], files: ["", "landing files"], gone: ["bad", "gone"] };
const POLL_MS = 1500;

const PART_COLUMNS = [
  { title: "Partition", number: true, value: (p) => p.partition },
  { title: "Offsets", head: true, class: "one-line", value: (p) => range(p.start, p.end) },
  { title: "Read from", value: (p) => state(...SOURCES[p.source]) },
  { title: "", class: "text", value: (p) => p.why },
];

const field = (title, input, hint) => el("label", { class: "field" }, el("span", { text: title }), input, hint ? el("small", { text: hint }) : null);

// Why this plan may not be started; nothing if it may.
function refusal({ kafka, files, gone }, allowed) {
  if (!gone || (allowed && kafka + files)) return null;
  const what = `${plural(gone, "offset")} ${gone === 1 ? "is" : "are"} in no source any more`;
  const rest = "Tick “Replay the rest” and take the dry run again, or choose another range.";
  return notice({ what, remedy: `${kafka + files ? rest : "Nothing of the range can be replayed."} Rows of what is gone stay as they are.` }, "warn");
}

function planView(plan) {
  const { kafka, files, gone } = plan.offsets;
  const now = `Now: ${plural(plan.rows, "row")} in ${plan.table}, ${whole(plan.quarantined)} in quarantine. They are replaced in one transaction.`;
  return el("section", { class: "card", "aria-label": "Plan", "data-plan": "" },
    el("header", {}, el("h3", { text: "Plan" }),
      el("p", { class: "quiet small", text: `${plural(kafka, "offset")} from Kafka, ${whole(files)} from ${plural(plan.files, "file")}, ${whole(gone)} gone. ${now}` })),
    table("Parts of the range", PART_COLUMNS, plan.parts));
}

async function follow(place, started) {
  for (;;) {
    const run = await ask("api/replay/run", { run_id: started.run_id }).catch((fault) => ({ fault }));
    if (!place.isConnected) return;
    if (run.fault) { place.replaceChildren(notice(run.fault, "warn")); return; }
    const kind = { success: "ok", failed: "bad" }[run.state] ?? "busy";
    place.replaceChildren(el("p", { class: "row" }, state(kind, run.state), runLink(run.dag_id, run.run_id, "Open the run")));
    if (started.paused) place.append(notice({ what: `DAG ${run.dag_id} is paused`, remedy: "The run waits until somebody unpauses it." }, "warn"));
    if (kind !== "busy") return;
    await new Promise((again) => setTimeout(again, POLL_MS));
  }
}

// stream, epoch, start, end and run fill the form; done() is called when a run was started.
export async function openReplay({ session, stream = "", epoch = "", start = "", end = "", run = "", done = () => {} }) {
  const heading = newId("replay");
  const dialog = el("dialog", { "aria-labelledby": heading });
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  const close = el("button", { type: "button", text: "Close", onclick: () => dialog.close() });
  dialog.append(el("form", {}, el("h2", { id: heading, text: "Replay" }), el("p", { class: "quiet", text: "Loading …" }), el("footer", {}, close)));
  dialog.showModal();

  let offered;
  try {
    offered = await ask("api/replay", { stream });
    if (offered.fault) throw offered.fault;
  } catch (fault) {
    dialog.querySelector("form > .quiet").replaceWith(notice(fault));
    return;
  }

  const streams = el("select", { name: "stream", required: true },
    ...(stream ? [] : [el("option", { value: "", text: "Choose …" })]), ...offered.streams.map((s) => el("option", { value: s, text: s, selected: s === stream })));
  if (stream && !offered.streams.includes(stream)) streams.append(el("option", { value: stream, text: stream, selected: true }));
  const epochs = el("select", { name: "epoch" });
  const how = newId("how");
  const byRange = el("input", { type: "radio", name: how, value: "range", checked: !run });
  const byRun = el("input", { type: "radio", name: how, value: "run", checked: Boolean(run) });
  const from = el("input", { name: "from", value: start, autocomplete: "off", spellcheck: "false" });
  const to = el("input", { name: "to", value: end, autocomplete: "off", spellcheck: "false" });
  const ofRun = el("input", { name: "run", value: run, autocomplete: "off", spellcheck: "false" });
  const reason = el("input", { name: "reason", autocomplete: "off", maxlength: "1000" });
  const gone = el("input", { type: "checkbox", name: "allow_gone" });
  const rangePart = el("div", { class: "pair" }, field("From", from, FORMS), field("To, exclusive", to, "The same forms; a time means the first message at or after it."));
  const runPart = el("div", {}, field("Landing run", ofRun, "All ranges that this run owns are replayed."));
  const outcome = el("div", { "aria-live": "polite" });
  const look = el("button", { type: "submit", text: "Dry run" });
  const go = el("button", { type: "button", class: "first", text: "Start replay", disabled: true });
  let planned = "";
  let refused = false;

  const request = () => ({
    stream: streams.value, topic_id: epochs.value || null, allow_gone: gone.checked,
    start: byRange.checked ? from.value.trim() || null : null, end: byRange.checked ? to.value.trim() || null : null,
    of_run: byRun.checked ? ofRun.value.trim() || null : null,
  });
  function check() {
    rangePart.hidden = !byRange.checked;
    runPart.hidden = byRange.checked;
    const same = planned !== "" && planned === JSON.stringify(request());
    go.disabled = !same || refused || reason.value.trim().length < 3;
    if (planned && !same) { planned = ""; outcome.replaceChildren(); }
  }
  function fillEpochs(list) {
    epochs.replaceChildren(el("option", { value: "", text: "Present topic" }),
      ...list.map((e, i) => el("option", { value: e.topic_id, text: `${i ? "Earlier" : "Newest in the ledger"}: ${e.topic_id}`, selected: epoch === e.topic_id && i > 0 })));
  }
  async function chooseStream() {
    const found = streams.value ? await ask("api/replay", { stream: streams.value }).catch(() => ({ epochs: [] })) : { epochs: [] };
    fillEpochs(found.epochs);
    check();
  }
  async function busy(button, work) {
    look.disabled = go.disabled = true;
    const text = button.textContent;
    button.textContent = "Working …";
    try { await work(); } catch (fault) { outcome.replaceChildren(notice(fault)); }
    button.textContent = text;
    look.disabled = false;
  }

  const form = el("form", { novalidate: true },
    el("h2", { id: heading, text: "Replay" }),
    el("p", { class: "quiet", text: "Reads a range again and puts the rows in the place of those that are there." }),
    offered.allowed ? null : notice({ what: `You may not start runs of DAG ${offered.dag_id}`, remedy: "Ask somebody who may." }, "warn"),
    el("div", { class: "pair" }, field("Stream", streams), field("Epoch", epochs, "A topic that was created again begins a new epoch.")),
    el("fieldset", {}, el("legend", { text: "What" }), el("div", { class: "choices" },
      el("label", { class: "tick" }, byRange, "A range of offsets or time"), el("label", { class: "tick" }, byRun, "A landing run"))),
    rangePart, runPart,
    field("Reason", reason, "At least three letters; it stands in OPS.REPLAYS."),
    el("label", { class: "tick" }, gone, "Replay the rest when a part is in no source any more"),
    outcome,
    el("footer", {}, el("span", { class: "hint", text: "Dry run first." }), close, look, go));
  form.addEventListener("input", check);
  streams.addEventListener("change", chooseStream);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(look, async () => {
      const wanted = request();
      const plan = await send("api/replay/plan", wanted);
      const why = refusal(plan.offsets, wanted.allow_gone);
      refused = why !== null;
      outcome.replaceChildren(planView(plan), ...(why ? [why] : []));
      planned = JSON.stringify(wanted);
    }).then(check);
  });
  go.addEventListener("click", () =>
    busy(go, async () => {
      const started = await send("api/replay/start", { ...request(), reason: reason.value.trim() });
      planned = "";
      const place = el("div");
      outcome.replaceChildren(el("div", { class: "notice", "data-started": started.run_id }, el("b", { text: "The replay was started" }), place));
      done();
      follow(place, started);
    }).then(() => { go.disabled = true; }));
  dialog.replaceChildren(form);
  fillEpochs(offered.epochs);
  look.disabled = !offered.allowed;
  check();
  (stream ? from : streams).focus();
}
