"use strict";

const EVERY_MS = 5000;
const NUMBER = new Intl.NumberFormat();

// The page lives in a frame of the Airflow UI and follows its colour mode.
function followColourMode() {
  let outer = null;
  try {
    outer = window.parent !== window ? window.parent.document.documentElement : null;
  } catch {
    outer = null;
  }
  const wished = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () =>
    document.documentElement.classList.toggle("dark", outer ? outer.classList.contains("dark") : wished.matches);
  if (outer) new MutationObserver(apply).observe(outer, { attributes: true, attributeFilter: ["class"] });
  wished.addEventListener("change", apply);
  apply();
}

function cell(text, classes = "") {
  const td = document.createElement("td");
  td.textContent = text; // never as HTML: names and values come from data
  td.className = classes;
  return td;
}

function number(value, level = "", digits = 0) {
  const shown = value === null ? "-" : NUMBER.format(Number(value.toFixed(digits)));
  return cell(shown, value ? `number ${level}` : "number");
}

function row(stream) {
  const tr = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = stream.stream;
  const newest = stream.newest_event ? new Date(stream.newest_event).toLocaleTimeString() : "-";
  tr.append(
    name,
    cell(newest),
    number(stream.seconds_since_load),
    number(stream.p95_seconds_to_load, "", 1),
    number(stream.rows_loaded),
    number(stream.rows_quarantined, "warn"),
    number(stream.unfinished_ranges),
    number(stream.lost_ranges, "bad"),
    number(stream.failed_gates, "bad"),
  );
  return tr;
}

function say(text, bad = false) {
  const state = document.getElementById("state");
  state.textContent = text;
  state.classList.toggle("bad", bad);
}

async function refresh() {
  try {
    const answer = await fetch("api/streams", { headers: { Accept: "application/json" } });
    const body = await answer.json();
    if (!answer.ok) {
      const detail = body.detail ?? {};
      say([detail.what ?? `Airflow answered ${answer.status}`, detail.where, detail.remedy].filter(Boolean).join("\n"), true);
      return;
    }
    document.getElementById("rows").replaceChildren(...body.map(row));
    say(body.length ? `As of ${new Date().toLocaleTimeString()}` : "The ledger is empty: no slice was claimed yet.");
  } catch (error) {
    say(`Airflow does not answer: ${error.message}`, true);
  }
}

followColourMode();
refresh();
setInterval(refresh, EVERY_MS);
