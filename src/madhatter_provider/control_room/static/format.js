// Numbers and times for people. A dash means: not known.
const WHOLE = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const FINE = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const SHORT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

export const NONE = "–";
export const CSV_ROWS = 10000; // most rows of a file, as the server has it

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

export const whole = (value) => (missing(value) ? NONE : WHOLE.format(value));
export const number = (value) => (missing(value) ? NONE : (Math.abs(value) >= 1000 ? WHOLE : FINE).format(value));
const SMALL = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });
export const compact = (value) => (missing(value) ? NONE : (Math.abs(value) < 1 ? SMALL : SHORT).format(value));

export function time(iso) {
  return missing(iso) ? NONE : new Date(iso).toLocaleTimeString(undefined, { hour12: false });
}

export function moment(iso) {
  if (missing(iso)) return NONE;
  const when = new Date(iso);
  const today = when.toDateString() === new Date().toDateString();
  return today ? time(iso) : when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short", hour12: false });
}

export function day(iso) {
  return missing(iso) ? NONE : new Date(iso).toLocaleDateString(undefined, { dateStyle: "medium", timeZone: "UTC" });
}

export function seconds(value) {
  if (missing(value)) return NONE;
  const size = Math.abs(value);
  if (size < 10) return `${FINE.format(Math.round(value * 10) / 10)} s`;
  if (size < 90) return `${WHOLE.format(value)} s`;
  if (size < 5400) return `${WHOLE.format(value / 60)} min`;
  if (size < 129600) return `${WHOLE.format(value / 3600)} h`;
  return `${WHOLE.format(value / 86400)} d`;
}

export function ago(iso) {
  return missing(iso) ? NONE : seconds(Math.max(0, (Date.now() - new Date(iso)) / 1000));
}

export const range = (start, end) => `[${whole(start)}, ${whole(end)})`;
export const percent = (part, all) => (all ? `${FINE.format((100 * part) / all)} %` : NONE);
export const plural = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`;
