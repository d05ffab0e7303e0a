// A dashboard that a file defines.
import { ask } from "../ask.js";
import { drawCase } from "../case.js";
import { definedChart } from "../charts/defined.js";
import { el } from "../dom.js";
import { keepLive } from "../live.js";
import { notice } from "../notices.js";
import { redraw } from "../redraw.js";

const CASES = "fraud"; // the page that cases belong to

// What the server says of the case in the address; a question that it refuses does not take the page away.
const askForCase = (id) => ask("api/case", { id }).catch((fault) => ({ refused: fault }));

export async function show(main, { session, path, query }) {
  const known = session.pages.find((page) => page.path === path);
  document.title = known?.title ?? path;
  const title = el("h1", { text: known?.title ?? path });
  const text = el("p", { class: "quiet" });
  const message = el("div");
  const caseId = path === CASES ? query.get("case") ?? "" : "";
  const chosen = el("div");
  const charts = el("div", { class: "grid" });
  main.replaceChildren(el("div", { class: "head" }, el("div", {}, title, text)), message, chosen, charts);
  charts.append(el("p", { class: "empty wide", text: "Loading …" }));
  await keepLive({
    seconds: session.refresh_seconds,
    load: async () => {
      const [data, said] = await Promise.all([ask(`api/dashboards/${encodeURIComponent(path)}`), caseId ? askForCase(caseId) : null]);
      return { ...data, said, fault: data.fault ?? said?.fault };
    },
    draw: (data) => {
      if (data.said) drawCase(chosen, caseId, data.said);
      text.textContent = data.text;
      redraw(message, data.fault ? notice(data.fault, "warn") : null);
      redraw(charts, ...data.charts.map((chart) => definedChart(chart, `api/dashboards/${encodeURIComponent(path)}/${chart.id}.csv`, caseId)));
    },
    fail: (fault) => {
      redraw(message, notice(fault));
      if (!charts.querySelector("[data-figure]")) charts.replaceChildren();
    },
  })();
}
