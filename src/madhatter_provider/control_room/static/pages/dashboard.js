// A dashboard that a file defines.
import { address, ask } from "../ask.js";
import { drawCase } from "../case.js";
import { PERIODS, choice, periodOf, remember } from "../choice.js";
import { chartFault, definedChart } from "../charts/defined.js";
import { el } from "../dom.js";
import { keepLive } from "../live.js";
import { notice, staleNotice } from "../notices.js";
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
  const wanted = { period: periodOf(query) };
  const periods = choice("Period of the lines over time", { "": "Usual periods", ...PERIODS }, wanted.period, (period) => {
    wanted.period = period;
    remember({ case: caseId, period });
    refresh();
  });
  periods.hidden = true;
  main.replaceChildren(el("div", { class: "head" }, el("div", {}, title, text), periods), message, chosen, charts);
  charts.append(el("p", { class: "empty wide", text: "Loading …" }));
  const source = `api/dashboards/${encodeURIComponent(path)}`;
  const refresh = keepLive({
    seconds: session.refresh_seconds,
    load: async () => {
      const [data, said] = await Promise.all([ask(source, wanted), caseId ? askForCase(caseId) : null]);
      const refused = said?.refused ?? chartFault(data.charts);
      return { ...data, said, fault: data.fault ?? said?.fault, refused };
    },
    draw: (data) => {
      if (data.said) drawCase(chosen, caseId, data.said);
      text.textContent = data.text;
      periods.hidden = !data.has_period;
      redraw(message, staleNotice(data));
      redraw(charts, ...data.charts.map((chart) => definedChart(chart, address(`${source}/${chart.id}.csv`, wanted), caseId)));
    },
    fail: (fault) => {
      redraw(message, notice(fault));
      if (!charts.querySelector("[data-figure]")) charts.replaceChildren();
    },
  });
  await refresh();
}
