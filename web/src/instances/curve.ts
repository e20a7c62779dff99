// What an episode's numbers are compared with. Nothing here touches the page.

import type { Episode, Point, Warmup } from '../api';

const flattest = 0.01;
const steepest = 100;

/**
 * The part of its full weight that an instance gets when it was offered so many seconds ago: the formula of internal/curve,
 * max(minimum, progress^(1/aggression)).
 */
export function shareAt(w: Warmup, seconds: number): number {
  const window = w.window_ns / 1e9;
  if (!(window > 0)) return 1;
  const progress = unit(seconds / window);
  return Math.max(unit(w.minimum ?? 0), Math.pow(progress, 1 / exponent(w.aggression)));
}

function exponent(aggression: number | undefined): number {
  if (!aggression || !(aggression > 0) || !Number.isFinite(aggression)) return 1;
  return Math.min(Math.max(aggression, flattest), steepest);
}

function unit(x: number): number {
  return x > 0 ? Math.min(x, 1) : 0;
}

/** A curve in words, as the guide names it. */
export function curveName(aggression: number | undefined): string {
  const a = exponent(aggression);
  if (a === 1) return 'linear';
  if (a === 0.5) return 'quadratic';
  return `power, aggression ${+a.toPrecision(3)}`;
}

/**
 * Splits points where nothing is kept for more than `gap` seconds: an instance that lived for hours has a start and a shutdown, and
 * nothing between them.
 */
export function chapters(points: readonly Point[], gap = 10): Point[][] {
  const out: Point[][] = [];
  let last = -Infinity;
  for (const p of points) {
    if (p.t - last > gap) out.push([]);
    out[out.length - 1]!.push(p);
    last = p.t;
  }
  return out;
}

/**
 * A centred moving mean over 2·reach+1 steps, in which null is no number: what is due to an instance by the second is as ragged as
 * what came in, and the curve that people look for is under it. Where it leaps it stays as sharp as it was: values that are more than
 * four times apart are not mixed.
 */
export function smooth(values: readonly (number | null)[], reach: number): (number | null)[] {
  return values.map((own, i) => {
    if (own === null) return null;
    let sum = 0;
    let n = 0;
    for (let j = Math.max(0, i - reach); j <= Math.min(values.length - 1, i + reach); j++) {
      const v = values[j];
      if (v !== null && v !== undefined && Math.max(v, own) <= 4 * Math.min(v, own)) {
        sum += v;
        n++;
      }
    }
    return n > 0 ? sum / n : own;
  });
}

/** Points by second from `from` to `to`, null where nothing is known: charts want every step. */
export function column(points: readonly Point[], from: number, to: number, of: (p: Point) => number | undefined): (number | null)[] {
  const out = new Array<number | null>(Math.max(0, to - from + 1)).fill(null);
  for (const p of points) {
    const i = p.t - from;
    if (i >= 0 && i < out.length) out[i] = of(p) ?? null;
  }
  return out;
}

/** What an episode came to, for tables and for comparing two. Times are seconds; undefined is not known. */
export interface Figures {
  ready?: number;
  warm?: number;
  life?: number;
  sent: number;
  failed: number;
  peak: number;
  p99?: number;
}

/** Figures of what is kept of an episode: its points, not its whole life. */
export function figures(e: Episode): Figures {
  const f: Figures = { sent: 0, failed: 0, peak: 0 };
  if (e.offered && !e.partial) f.ready = between(e.began, e.offered);
  if (e.offered && e.warm && !e.partial) f.warm = between(e.offered, e.warm);
  if (e.ended) f.life = between(e.began, e.ended);
  for (const p of e.points ?? []) {
    f.sent += p.requests;
    f.failed += p.failed;
    f.peak = Math.max(f.peak, p.requests);
    if (p.p99_ms !== undefined && p.p99_ms > 0) f.p99 = Math.max(f.p99 ?? 0, p.p99_ms);
  }
  return f;
}

function between(a: string, b: string): number {
  return (Date.parse(b) - Date.parse(a)) / 1000;
}
