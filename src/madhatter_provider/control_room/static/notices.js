// What is wrong, in words: what happened, where, and the remedy.
import { el } from "./dom.js";
import { time } from "./format.js";

export function notice(fault, kind = "bad") {
  return el("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null },
    el("b", { text: fault.what ?? fault.message }),
    fault.where ? el("p", { text: fault.where }) : null,
    fault.remedy ? el("p", { text: fault.remedy }) : null);
}

export const empty = (title, text) => el("div", { class: "empty" }, el("b", { text: title }), el("p", { text }));

export const state = (kind, text) => el("span", { class: `state ${kind}`, text });

// Why the page is not newer, and what its content is of.
export function staleNotice({ fault, as_of: asOf }) {
  if (!fault) return null;
  const since = asOf ? `The page shows what was known at ${time(asOf)}.` : "";
  return notice({ ...fault, remedy: `${since} ${fault.remedy ?? ""}`.trim() }, "warn");
}

// What is wrong with the brokers, and how old the lag is that is shown meanwhile.
export function brokerNotice(broker) {
  if (!broker.fault) return null;
  const since = broker.as_of ? `The lag is shown as of ${time(broker.as_of)}.` : "No lag is known.";
  return notice({ ...broker.fault, remedy: `${since} ${broker.fault.remedy ?? ""}`.trim() }, "warn");
}
