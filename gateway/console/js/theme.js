// Light or dark: as the system is, or as was chosen.

const CHOICE = "tidegate.theme";
const THEMES = ["system", "light", "dark"];

export const themes = () => THEMES;

/** What was chosen. */
export function theme() {
  try {
    const stored = localStorage.getItem(CHOICE);
    return THEMES.includes(stored) ? stored : "system";
  } catch {
    return "system";
  }
}

/** Chooses, and shows it. */
export function setTheme(name) {
  try { localStorage.setItem(CHOICE, name); } catch { /* Then for this visit. */ }
  wear(name);
}

/** Shows what was chosen. */
export function wear(name = theme()) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}
