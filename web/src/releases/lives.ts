// Who was where in its life, and when, over the time of a release.

import type { EpisodeRow } from '../api';

export type Phase = 'starting' | 'warming' | 'serving' | 'draining';

export interface Bar { phase: Phase; from: number; to: number } // Unix seconds

export interface Line {
  id: string;
  name: string;
  version: string;
  came: boolean;
  killed: boolean;
  bars: Bar[];
}

/** The bars of those that came and went, within from and to. Who came stands first, by when; then who went. */
export function lines(episodes: readonly EpisodeRow[], came: readonly string[], from: number, to: number): Line[] {
  const order = new Map(came.map((id, i) => [id, i]));
  return episodes
    .map((e) => ({ id: e.id, name: e.name, version: e.version ?? '', came: order.has(e.id), killed: e.killed === true, bars: bars(e, from, to) }))
    .filter((l) => l.bars.length > 0)
    .sort((a, b) => Number(b.came) - Number(a.came) || (order.get(a.id) ?? 0) - (order.get(b.id) ?? 0) || a.bars[0]!.to - b.bars[0]!.to || (a.name < b.name ? -1 : 1));
}

function bars(e: EpisodeRow, from: number, to: number): Bar[] {
  const end = e.ended ? unix(e.ended) : Infinity;
  const left = e.left ? unix(e.left) : end;
  const warm = e.warm ? unix(e.warm) : left;
  const offered = e.offered ? unix(e.offered) : left;
  const all: Bar[] = [
    { phase: 'starting', from: unix(e.began), to: Math.min(offered, left, end) },
    { phase: 'warming', from: offered, to: Math.min(warm, left, end) },
    { phase: 'serving', from: warm, to: Math.min(left, end) },
    { phase: 'draining', from: left, to: end },
  ];
  return all.map((b) => ({ ...b, from: Math.max(from, b.from), to: Math.min(to, b.to) })).filter((b) => b.to > b.from);
}

/** Moments of a stretch of time that are worth a line, as seconds from its beginning: at most about eight. */
export function ticks(span: number): number[] {
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400].find((s) => span / s <= 8) ?? 86400;
  return Array.from({ length: Math.floor(span / step) + 1 }, (_, i) => i * step);
}

function unix(time: string): number {
  return Date.parse(time) / 1000;
}
