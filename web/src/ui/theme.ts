// Colours for canvases, which know no custom properties: each token as the theme in force resolves it.

import { useEffect, useState } from 'preact/hooks';

const known = new Map<string, string>();
let probe: HTMLElement | undefined;

/** The colour of a token of the design ("--series-1"), with an opacity of 0 to 1. */
export function colour(token: string, alpha = 1): string {
  let rgb = known.get(token);
  if (rgb === undefined) {
    probe ??= document.body.appendChild(Object.assign(document.createElement('i'), { hidden: true }));
    probe.style.color = `var(${token})`;
    rgb = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? ['128', '128', '128']).slice(0, 3).join(', ');
    known.set(token, rgb);
  }
  return `rgba(${rgb}, ${alpha})`;
}

const watchers = new Set<() => void>();
let turns = 0;

function turned(): void {
  known.clear();
  turns++;
  for (const w of watchers) w();
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', turned);
new MutationObserver(turned).observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });

/** A number that is another one whenever colours have changed. */
export function useTheme(): number {
  const [turn, set] = useState(turns);
  useEffect(() => {
    const look = () => set(turns);
    watchers.add(look);
    look();
    return () => void watchers.delete(look);
  }, []);
  return turn;
}

/** The token of the nth curve of a chart; curves keep theirs by their place in a sorted list of names. */
export const series = (n: number): string => `--series-${(n % 8) + 1}`;
