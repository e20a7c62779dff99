// Light, dark, or as the system has it.

export type Theme = 'system' | 'light' | 'dark';

const name = 'crossfade.theme';

export function theme(): Theme {
  try {
    const t = localStorage.getItem(name);
    return t === 'light' || t === 'dark' ? t : 'system';
  } catch {
    return 'system'; // storage is switched off: the switch then holds for this page
  }
}

export function setTheme(t: Theme): void {
  show(t);
  try {
    if (t === 'system') localStorage.removeItem(name);
    else localStorage.setItem(name, t);
  } catch {
    // See theme.
  }
}

/** Shows a theme; the page's first line calls it with what is stored. */
export function show(t: Theme): void {
  if (t === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = t;
}
