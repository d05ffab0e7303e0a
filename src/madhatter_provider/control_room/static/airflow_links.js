// Links to Airflow's own pages. The frame may not navigate the window around it, but that page is of the same origin and
// may follow a link of its own.
import { el } from "./dom.js";

const BASE = new URL("../", location.href).pathname;

function follow(event) {
  if (window.parent === window || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  const outer = window.parent.document;
  const link = outer.createElement("a");
  link.href = event.currentTarget.href;
  outer.body.append(link);
  link.click();
  link.remove();
}

const link = (path, text, kind = null) => el("a", { href: `${BASE}${path}`, class: kind, text, onclick: follow });

export const dagLink = (dagId) => link(`dags/${encodeURIComponent(dagId)}`, dagId);
export const runLink = (dagId, runId, text = runId) =>
  link(`dags/${encodeURIComponent(dagId)}/runs/${encodeURIComponent(runId)}`, text);

export function taskLink({ dagId, runId, taskId, mapIndex, page }, text, kind) {
  const mapped = mapIndex === null || mapIndex < 0 ? "" : `/mapped/${mapIndex}`;
  return link(`dags/${encodeURIComponent(dagId)}/runs/${encodeURIComponent(runId)}/tasks/${encodeURIComponent(taskId)}${mapped}/${page}`, text, kind);
}
