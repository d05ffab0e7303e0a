// A chart in its card: title, the same data as a table, and as CSV. chart() -> node; columns and rows make the table.
import { el, newId } from "../dom.js";
import { empty, notice } from "../notices.js";
import { table } from "../tables.js";

const asTable = new Set(); // which figures the reader has turned; kept over redraws

export function figure({ id, title, text, wide, rows, columns, chart, csv, fault, nothing = "No data yet.", marked }) {
  const heading = newId("figure");
  const body = el("div", { class: "body" });
  const turn = el("button", { type: "button", class: "plain", "data-key": `turn-${id}`, text: "Table", "aria-label": `${title} as a table` });

  function draw() {
    const turned = asTable.has(id) || !chart;
    turn.setAttribute("aria-pressed", String(asTable.has(id)));
    body.classList.toggle("flush", turned && !fault && rows.length > 0);
    if (fault) body.replaceChildren(notice(fault, "warn"));
    else if (!rows.length) body.replaceChildren(empty("Nothing to show", nothing));
    else body.replaceChildren(turned ? table(title, columns, rows, marked) : chart());
  }

  turn.addEventListener("click", () => {
    if (!asTable.delete(id)) asTable.add(id);
    draw();
  });
  draw();
  const full = !fault && rows.length > 0;
  return el("section", { class: `card${wide ? " wide" : ""}`, "aria-labelledby": heading, "data-figure": id },
    el("header", {},
      el("h2", { id: heading, text: title }),
      el("span", { class: "push row" }, full && chart ? turn : null,
        full && csv ? el("a", { class: "button plain", href: csv, download: `${id}.csv`, text: "CSV", "aria-label": `${title} as CSV` }) : null),
      text ? el("p", { class: "quiet small", text }) : null),
    body);
}
