// What is wrong, in words: what happened, where, and the remedy.
import { el } from "./dom.js";

export function notice(fault, kind = "bad") {
  return el("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null },
    el("b", { text: fault.what ?? fault.message }),
    fault.where ? el("p", { text: fault.where }) : null,
    fault.remedy ? el("p", { text: fault.remedy }) : null);
}

export const empty = (title, text) => el("div", { class: "empty" }, el("b", { text: title }), el("p", { text }));

export const state = (kind, text) => el("span", { class: `state ${kind}`, text });
