// What a topic's messages make of its value: pure, so that tests can draw them.

import type { Column, Curve, Curves } from './api';

interface Patch { head?: Row; rows?: Row[]; gone?: string[] }
type Row = Record<string, unknown>;

/** Which list of a topic a patch's rows belong to, what they are known by, and their order. */
interface Rows { list: string; key: string; before(a: Row, b: Row): number }

const byName = (a: Row, b: Row) => (String(a['name']) < String(b['name']) ? -1 : 1);
const newest = (a: Row, b: Row) => Date.parse(String(b['began'])) - Date.parse(String(a['began']));

function rowsOf(topic: string): Rows {
  if (topic.startsWith('service:')) return { list: 'endpoints', key: 'id', before: byName };
  if (topic === 'episodes') return { list: 'episodes', key: 'id', before: newest };
  if (topic === 'releases') return { list: 'releases', key: 'id', before: newest };
  return { list: 'services', key: 'name', before: byName };
}

/** A topic's value after one message. Without a value there is nothing to patch: a whole one begins every connection. */
export function merged(topic: string, event: string, data: unknown, value: unknown): unknown {
  if (topic.startsWith('series:')) return points(event, data as Curves, value as Curves | undefined);
  if (event === 'whole') return data;
  if (event !== 'patch' || value === undefined) return value;
  const patch = data as Patch;
  const of = rowsOf(topic);
  const whole = { ...(value as Row), ...patch.head };
  if (patch.rows?.length || patch.gone?.length) whole[of.list] = patched((whole[of.list] ?? []) as Row[], patch, of);
  return whole;
}

/** The rows with those of a patch in their places; rows that did not change are the same objects as before. */
function patched(rows: Row[], patch: Patch, of: Rows): Row[] {
  const changed = new Map((patch.rows ?? []).map((r) => [r[of.key], r]));
  const gone = new Set<unknown>(patch.gone);
  const kept: Row[] = [];
  for (const row of rows) {
    const key = row[of.key];
    const now = changed.get(key);
    changed.delete(key);
    if (!gone.has(key)) kept.push(now ?? row);
  }
  if (changed.size === 0) return kept;
  return [...kept, ...changed.values()].sort(of.before);
}

const columns = ['requests', 'lost', 'due', 'share', 'p50_ms', 'p99_ms', 'active', 'fraction'] as const;
const most = 15 * 60; // steps of a live curve

/** How many steps curves have. */
export function steps(c: Curves): number {
  return c.curves.reduce((n, curve) => Math.max(n, curve.requests.length), 0);
}

/** The second at which the last step of curves begins: of live ones, the last that is known. */
export function latest(c: Curves): number {
  return c.from + (steps(c) - 1) * c.step_s;
}

const setBack = 60; // s: by more, the clock of whoever serves was set back

function points(event: string, news: Curves, was: Curves | undefined): Curves {
  if (event === 'whole' || !was || was.step_s !== news.step_s || latest(news) < latest(was) - setBack) return news;
  return appended(was, news);
}

/** was with news behind it: what both have is as news has it, what neither has is null, what is older than a quarter of an hour is dropped. */
export function appended(was: Curves, news: Curves): Curves {
  const step = news.step_s;
  const ends = Math.max(was.from + steps(was) * step, news.from + steps(news) * step);
  const from = Math.max(Math.min(was.from, news.from), ends - most * step);
  const size = Math.round((ends - from) / step);
  const both = new Map<string, [Curve | undefined, Curve | undefined]>();
  for (const c of was.curves) both.set(identity(c), [c, undefined]);
  for (const c of news.curves) both.set(identity(c), [both.get(identity(c))?.[0], c]);
  const curves: Curve[] = [];
  for (const [old, fresh] of both.values()) {
    const curve: Curve = { name: (fresh ?? old)!.name, of: (fresh ?? old)!.of, requests: [] };
    for (const column of columns) {
      if (!old?.[column] && !fresh?.[column]) continue;
      const into = cut(old?.[column] ?? [], Math.round((was.from - from) / step), size);
      put(into, Math.round((news.from - from) / step), fresh?.[column] ?? []);
      curve[column] = into;
    }
    if (curve.requests.some((v) => v !== null)) curves.push(curve);
  }
  return { from, step_s: step, curves };
}

const identity = (c: Curve) => `${c.name}\n${c.of ?? ''}`;

/** A column of so many steps, which begins at shift as it was; what is not known is null. A shift below 0 drops its first steps. */
function cut(values: Column, shift: number, size: number): Column {
  const into = shift > 0 ? new Array<number | null>(shift).fill(null).concat(values) : values.slice(-shift);
  while (into.length < size) into.push(null);
  return into;
}

function put(into: Column, shift: number, values: Column): void {
  for (let i = Math.max(0, -shift); i < values.length; i++) into[i + shift] = values[i] ?? null;
}
