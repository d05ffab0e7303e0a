// A dashboard that a file defines.
import { ask } from "../ask.js";
import { definedChart } from "../charts/defined.js";
import { el } from "../dom.js";
import { keepLive } from "../live.js";
import { notice } from "../notices.js";
import { redraw } from "../redraw.js";

export async function show(main, { session, path }) {
  const known = session.pages.find((page) => page.path === path);
  document.title = known?.title ?? path;
  const title = el("h1", { text: known?.title ?? path });
  const text = el("p", { class: "quiet" });
  const message = el("div");
  const charts = el("div", { class: "grid" });
  main.replaceChildren(el("div", { class: "head" }, el("div", {}, title, text)), message, charts);
  charts.append(el("p", { class: "empty wide", text: "Loading …" }));
  await keepLive({
    seconds: session.refresh_seconds,
    load: () => ask(`api/dashboards/${encodeURIComponent(path)}`),
    draw: (data) => {
      text.textContent = data.text;
      redraw(message, data.fault ? notice(data.fault, "warn") : null);
      redraw(charts, ...data.charts.map((chart) => definedChart(chart, `api/dashboards/${encodeURIComponent(path)}/${chart.id}.csv`)));
    },
    fail: (fault) => {
      redraw(message, notice(fault));
      if (!charts.querySelector("[data-figure]")) charts.replaceChildren();
    },
  })();
}
