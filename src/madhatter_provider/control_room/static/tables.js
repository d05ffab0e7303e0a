// Tables. A column: {title, value(row) -> text or node, number, head, kind(row) -> class, sort: name of an order}.
import { el } from "./dom.js";

function cell(column, row) {
  const value = column.value(row);
  const kinds = [column.number ? "number" : "", column.class ?? "", column.kind?.(row) ?? ""].filter(Boolean).join(" ");
  return el(column.head ? "th" : "td", { scope: column.head ? "row" : null, class: kinds || null }, value instanceof Node ? value : String(value ?? ""));
}

// order: {sort, descending, change(sort, direction)}; the column that the rows are sorted by says so.
function heading(column, order) {
  const kind = column.number ? "number" : "";
  if (!order || !column.sort) {
    return el("th", { scope: "col", class: kind || null }, column.title || el("span", { class: "hidden", text: "More" }));
  }
  const chosen = column.sort === order.sort;
  const turn = () => order.change(column.sort, chosen ? (order.descending ? "asc" : "desc") : "");
  return el("th", { scope: "col", class: kind || null, "aria-sort": chosen ? (order.descending ? "descending" : "ascending") : "none" },
    el("button", { type: "button", class: "sort", "data-key": `sort-${column.sort}`, text: column.title, onclick: turn }));
}

export function table(label, columns, rows, marked = () => false, order = null) {
  const heads = columns.map((c) => heading(c, order));
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label },
    el("table", {},
      el("caption", { class: "hidden", text: label }),
      el("thead", {}, el("tr", {}, ...heads)),
      el("tbody", {}, ...rows.map((row) => el("tr", { class: marked(row) ? "marked" : null }, ...columns.map((c) => cell(c, row)))))));
}

export function pager({ page, rows, total, go }) {
  const pages = Math.max(1, Math.ceil(total / rows));
  if (pages === 1) return null;
  const turn = (to, text) => el("button", { type: "button", text, disabled: to < 0 || to >= pages, onclick: () => go(to) });
  return el("nav", { class: "pager", "aria-label": "Pages of the list" },
    turn(page - 1, "Previous"), turn(page + 1, "Next"),
    el("span", { text: `${page * rows + 1}–${Math.min(total, (page + 1) * rows)} of ${total}` }));
}
