// Chooses light or dark before the first paint, so that nothing flashes: what was chosen here before, else what the
// system says. `web/src/theme.rs` takes over from there, with the same key.
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("newroot-theme");
  } catch {
    // Storage may be forbidden; then the system decides each time.
  }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
