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

const PATIENCE = 20; // seconds; the server itself waits less long for Snowflake
const PLAN_PATIENCE = 120; // a dry run asks Kafka, Snowflake and the landing files

const unreadable = (error) => {
  if (error instanceof SyntaxError) return null; // not JSON: a proxy's page
  throw error;
};

// The signal ends a question that a server or a proxy leaves open: a page must not stay "live" over it.
async function answerOf(path, options, seconds, remedy) {
  let answer, body;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(seconds * 1000) });
    body = await answer.json().catch(unreadable);
  } catch (error) {
    const what = error.name === "TimeoutError" ? `Airflow has not answered within ${seconds} s` : "Airflow does not answer";
    throw new Fault(0, { what, where: error.message, remedy });
  }
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
  answerOf(address(path, values), { headers: { Accept: "application/json" } }, PATIENCE, "The page tries again by itself.");

export const send = (path, body) =>
  answerOf(path, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-Requested-With": "madhatter" },
    body: JSON.stringify(body),
  }, PLAN_PATIENCE, "Look whether it was done, then try again.");
