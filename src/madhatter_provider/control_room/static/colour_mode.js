// The page lives in a frame of the Airflow UI and follows its colour mode; by itself it follows the system's.
export function followColourMode() {
  let outer = null;
  try {
    outer = window.parent !== window ? window.parent.document.documentElement : null;
  } catch {
    outer = null;
  }
  const wished = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () =>
    document.documentElement.classList.toggle("dark", outer ? outer.classList.contains("dark") : wished.matches);
  if (outer) new MutationObserver(apply).observe(outer, { attributes: true, attributeFilter: ["class"] });
  wished.addEventListener("change", apply);
  apply();
}
