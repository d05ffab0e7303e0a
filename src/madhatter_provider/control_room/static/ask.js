// Requests to the control room's own API. A fault has what, where and remedy, as the server says it.
export class Fault extends Error {
  constructor(status, detail) {
    const said = typeof detail === "string" ? { what: detail } : (detail ?? {});
    super(said.what ?? `Airflow answered ${status}`);
    this.status = status;
    this.what = this.message;
    this.where = said.where ?? "";
    this.remedy = said.remedy ?? "";
  }
}

async function answerOf(request) {
  let answer;
  try {
    answer = await request;
  } catch (error) {
    throw new Fault(0, { what: "Airflow does not answer", where: error.message, remedy: "The page tries again by itself." });
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok) return body;
  if (answer.status === 401) throw new Fault(401, { what: "You are signed out", remedy: "Load the page again to sign in." });
  const detail = Array.isArray(body?.detail)
    ? { what: body.detail.map((d) => `${d.loc.at(-1)}: ${d.msg}`).join("; "), remedy: "Mend it." }
    : body?.detail;
  throw new Fault(answer.status, detail);
}

const query = (values) => {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

export const address = (path, values = {}) => path + query(values);

export const ask = (path, values = {}) =>
  answerOf(fetch(address(path, values), { headers: { Accept: "application/json" } }));

export const send = (path, body) =>
  answerOf(fetch(path, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-Requested-With": "madhatter" },
    body: JSON.stringify(body),
  }));
