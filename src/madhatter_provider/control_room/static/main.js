// The frame of every page: colours, who looks, the navigation; then the page's own module.
import { ask } from "./ask.js";
import { el } from "./dom.js";
import { followColourMode } from "./colour_mode.js";
import { notice } from "./notices.js";

const OWN = ["streams", "stream", "run", "quality", "quarantine"];
const PARENTS = { stream: "streams", quarantine: "quality" };

function navigation(pages, path) {
  const current = PARENTS[path] ?? path;
  const links = pages.map((page) =>
    el("a", { href: page.path, text: page.title, "aria-current": page.path === current ? "page" : null }));
  document.getElementById("pages").replaceChildren(...links);
}

async function show() {
  const main = document.getElementById("page");
  const path = location.pathname.split("/").pop();
  try {
    const session = await ask("api/session");
    navigation(session.pages, path);
    const module = await import(`./pages/${OWN.includes(path) ? path : "dashboard"}.js`);
    await module.show(main, { session, path, query: new URLSearchParams(location.search) });
  } catch (fault) {
    main.replaceChildren(notice(fault));
  }
}

followColourMode();
show();
