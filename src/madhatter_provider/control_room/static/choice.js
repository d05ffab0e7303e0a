// Choices that change what a page shows, and its address.
import { address } from "./ask.js";
import { el } from "./dom.js";

export const PERIODS = { "1h": "Last hour", "6h": "Last 6 hours", "24h": "Last 24 hours", "7d": "Last 7 days" };

export const BUCKETS = { 1: "minute", 5: "5 minutes", 15: "15 minutes", 60: "hour", 1440: "day" };

export function periodOf(query) {
  const name = query.get("period") ?? "";
  return Object.hasOwn(PERIODS, name) ? name : "";
}

export const choice = (label, options, chosen, change) =>
  el("select", { "aria-label": label, onchange: (e) => change(e.target.value) },
    ...Object.entries(options).map(([value, text]) => el("option", { value, text, selected: value === chosen })));

// Puts what is wanted into the address, so that a link or a reload shows the same; in Airflow's frame into the address of
// the window around it too.
export function remember(values) {
  const path = location.pathname.split("/").pop();
  history.replaceState(null, "", address(path, values));
  if (window.parent === window) return;
  const outer = window.parent;
  if (outer.location.pathname.endsWith(location.pathname)) {
    outer.history.replaceState(outer.history.state, "", outer.location.pathname + location.search);
  }
}
