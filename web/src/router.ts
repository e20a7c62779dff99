// Where the page is, by the History API: every view has an address that can be sent to somebody. Plain links are enough: a click on an
// <a> that leads to a place of this page is taken here.

import { useEffect, useState } from 'preact/hooks';

export interface Place {
  path: string;
  parts: string[]; // of path, decoded
  query: URLSearchParams;
}

function here(): Place {
  const parts = location.pathname.split('/').filter(Boolean).map(decoded);
  return { path: location.pathname, parts, query: new URLSearchParams(location.search) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // %zz: the address as it was typed
  }
}

const watchers = new Set<() => void>();

function moved(): void {
  for (const w of watchers) w();
}

/** Leads to another place of the page. */
export function go(to: string, how: { replace?: boolean } = {}): void {
  if (how.replace) history.replaceState(null, '', to);
  else {
    history.pushState(null, '', to);
    scrollTo(0, 0);
  }
  moved();
}

/** The address of a place from its parts and query; what is undefined or "" is left out of the query. */
export function place(parts: string[], query: Record<string, string | undefined> = {}): string {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) q.set(name, value);
  const text = q.toString();
  return '/' + parts.map(encodeURIComponent).join('/') + (text ? `?${text}` : '');
}

export function usePlace(): Place {
  const [now, set] = useState(here);
  useEffect(() => {
    const look = () => set(here());
    watchers.add(look);
    look();
    return () => void watchers.delete(look);
  }, []);
  return now;
}

/** One value of the query, and how to change it: without a step in the history, as filters are. */
export function useQuery(name: string, otherwise = ''): [string, (value: string) => void] {
  const { query } = usePlace();
  const set = (value: string) => {
    const q = new URLSearchParams(location.search);
    if (value && value !== otherwise) q.set(name, value);
    else q.delete(name);
    const text = q.toString();
    go(location.pathname + (text ? `?${text}` : ''), { replace: true });
  };
  return [query.get(name) ?? otherwise, set];
}

addEventListener('popstate', moved);

document.addEventListener('click', (e) => {
  if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const a = e.target instanceof Element ? e.target.closest('a') : null;
  if (!a || a.target || a.hasAttribute('download') || a.origin !== location.origin) return;
  if (a.pathname.startsWith('/api/') || a.hash) return;
  e.preventDefault();
  if (a.href !== location.href) go(a.pathname + a.search);
});
