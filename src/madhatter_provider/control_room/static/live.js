// Asks again and again, while somebody looks: a hidden page asks nothing, and Snowflake may sleep.
import { time } from "./format.js";

const SOON_MS = 1000;

function say(state, text) {
  const place = document.getElementById("live");
  place.classList.toggle("on", state === "on");
  place.classList.toggle("off", state === "off");
  if (place.textContent !== text) place.textContent = text;
}

// load() returns data; draw(data) shows it; fail(fault) shows why there is none. data.fault says why it is not newer,
// data.refused why a part of it is missing. Returns a function that asks now.
export function keepLive({ seconds, load, draw, fail }) {
  let timer = null;
  let turn = 0;

  async function round() {
    clearTimeout(timer);
    const mine = (turn += 1);
    let wait = seconds * 1000;
    try {
      const data = await load();
      if (mine !== turn) return; // a newer question is under way
      draw(data);
      if (data.broker?.pending) wait = SOON_MS;
      if (data.fault) say("off", `Not live, as of ${time(data.as_of)}`);
      else if (data.refused) say("off", `Not all is live, ${time(data.as_of)}`);
      else say("on", `Live, ${time(data.as_of)}`);
    } catch (fault) {
      if (mine !== turn) return;
      fail(fault);
      say("off", "Not live");
    }
    if (!document.hidden) timer = setTimeout(round, wait);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : round()));
  return round;
}
