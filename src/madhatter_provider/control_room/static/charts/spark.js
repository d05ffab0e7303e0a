// A small line without axes, for a cell of a table.
import { svg } from "../dom.js";

export function spark(values, label) {
  const top = Math.max(1, ...values);
  const x = (i) => (100 * i) / Math.max(1, values.length - 1);
  const points = values.map((v, i) => `${x(i).toFixed(1)},${(19 - (18 * v) / top).toFixed(1)}`).join("L");
  return svg("svg", { class: "spark", viewBox: "0 0 100 20", preserveAspectRatio: "none", role: "img", "aria-label": `${label}: ${values.join(", ")}` },
    svg("path", { class: "area", d: `M0,20L${points}L100,20Z` }), svg("path", { d: `M${points}` }));
}
