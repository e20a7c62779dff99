// What a picture of an episode shows, worked out before anything is drawn: the page, its table for those who do not see it, and the
// image that is exported are made of the same.

import type { Episode, Point } from '../api';
import { chapters, column, curveName, shareAt, smooth } from './curve';
import { markWords, onChart, type Tone } from './marks';

/** A curve of a panel; null where nothing is known. */
export interface Trace {
  label: string;
  colour: string; // a token of the design: "--series-1"
  values: (number | null)[];
  dashed?: boolean;
  filled?: boolean;
  bars?: boolean;
}

/** A chart of a picture. All panels of a picture have its x. */
export interface Panel {
  name: string;
  unit: 'rate' | 'share' | 'ms';
  height: number;
  traces: Trace[];
}

/** An event on a picture. */
export interface PictureMark {
  x: number;
  label: string;
  tone: Tone;
  number: number; // its place in the list of all marks, from 1
}

/** Panels over one stretch of time. */
export interface Picture {
  title: string;
  zero: string; // what x is counted from
  origin: number; // Unix seconds at x = 0; 0 where several instances lie over each other
  x: number[]; // seconds
  panels: Panel[];
  marks: PictureMark[];
}

const reach = 2; // seconds either way that what was due is smoothed over

/** The pictures of an episode: its start, and its shutdown where that lies apart. */
export function pictures(e: Episode): Picture[] {
  const parts = chapters(e.points ?? []);
  return parts.map((points, i) => {
    const leaving = i > 0 || (e.left !== undefined && unix(e.left) <= points[0]!.t + 30 && (!e.offered || unix(e.offered) < points[0]!.t));
    const at = leaving ? e.left : (e.offered ?? e.began);
    const both = !leaving && parts.length === 1 && e.left !== undefined && unix(e.left) <= points[points.length - 1]!.t;
    return picture(e, points, {
      title: leaving ? 'Shutdown' : both ? 'Start and shutdown' : 'Start',
      zero: leaving ? 'since its leave began' : e.offered ? 'since it was offered to requests' : 'since it began',
      origin: at === undefined ? points[0]!.t : unix(at),
      curve: !leaving && e.offered !== undefined,
    });
  });
}

interface Frame {
  title: string;
  zero: string;
  origin: number;
  curve: boolean; // its warm-up belongs to it
}

function picture(e: Episode, points: readonly Point[], f: Frame): Picture {
  const from = Math.min(points[0]!.t, ...marksWithin(e, points[0]!.t - 30, points[points.length - 1]!.t).map((m) => Math.floor(m)));
  let to = points[points.length - 1]!.t;
  const window = f.curve && e.warmup ? Math.ceil(e.warmup.window_ns / 1e9) : 0;
  if (e.running && window > 0 && !e.warm && !e.left) to = Math.max(to, Math.ceil(f.origin) + window + 10);
  const x = Array.from({ length: to - from + 1 }, (_, i) => from + i - f.origin);
  const due = smooth(column(points, from, to, (p) => p.due), reach);
  const traces: Trace[] = [
    { label: 'sent', colour: '--series-1', values: column(points, from, to, (p) => p.requests), filled: true },
    { label: 'expected', colour: '--series-2', values: due, dashed: true },
  ];
  if (points.some((p) => p.failed > 0)) {
    traces.push({ label: 'failed', colour: '--bad', values: column(points, from, to, (p) => (p.failed > 0 ? p.failed : undefined)), bars: true });
  }
  const shares: Trace[] = [{ label: 'share', colour: '--series-3', values: column(points, from, to, (p) => p.share), filled: true }];
  if (window > 0) {
    const until = e.left === undefined ? Infinity : unix(e.left) - f.origin;
    shares.push({ label: 'time curve', colour: '--series-2', values: x.map((s) => (s < 0 || s > until ? null : shareAt(e.warmup!, s))), dashed: true });
  }
  const panels: Panel[] = [
    { name: 'Requests per second', unit: 'rate', height: 230, traces },
    { name: 'Share of its full weight', unit: 'share', height: 120, traces: shares },
  ];
  if (points.some((p) => (p.p99_ms ?? 0) > 0)) {
    const values = column(points, from, to, (p) => (p.p99_ms ? p.p99_ms : undefined));
    panels.push({ name: 'p99 latency', unit: 'ms', height: 110, traces: [{ label: 'p99', colour: '--series-4', values }] });
  }
  return { title: f.title, zero: f.zero, origin: f.origin, x, panels, marks: marksOf(e, from, to + 1, f.origin) };
}

function marksWithin(e: Episode, from: number, to: number): number[] {
  return e.marks.filter((m) => onChart(m.kind)).map((m) => unix(m.at)).filter((t) => t >= from && t <= to);
}

function marksOf(e: Episode, from: number, to: number, origin: number): PictureMark[] {
  return e.marks
    .map((m, i) => ({ ...markWords(m.kind), kind: m.kind, x: unix(m.at), number: i + 1 }))
    .filter((m) => onChart(m.kind) && m.x >= from && m.x <= to)
    .map(({ label, tone, number, x }) => ({ label, tone, number, x: x - origin }))
    .sort((a, b) => a.x - b.x);
}

/**
 * One picture of several episodes that lie over each other by the time since each was offered to requests. Requests are taken
 * relative to the instance's own highest five-second mean where `relative` says so: then instances of busy and of quiet hours compare.
 */
export function overlay(named: readonly { name: string; colour: string; episode: Episode }[], relative: boolean): Picture {
  const starts = named.flatMap(({ name, colour, episode }) => {
    const points = chapters(episode.points ?? [])[0];
    return points && episode.offered ? [{ name, colour, episode, points, origin: Math.floor(unix(episode.offered)) }] : [];
  });
  const from = Math.min(0, ...starts.map((s) => s.points[0]!.t - s.origin));
  const to = Math.max(1, ...starts.map((s) => s.points[s.points.length - 1]!.t - s.origin));
  const x = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const traces = (of: (p: Point) => number | undefined, each: (v: (number | null)[]) => (number | null)[] = (v) => v): Trace[] =>
    starts.map((s) => ({ label: s.name, colour: s.colour, values: each(column(s.points, s.origin + from, s.origin + to, of)) }));
  const curves = new Map(starts.flatMap(({ episode: { warmup: w } }) => (w && w.window_ns > 0 ? [[JSON.stringify(w), w] as const] : [])));
  const wanted = [...curves.values()].map((w): Trace => ({
    label: curves.size === 1 ? 'time curve' : `time curve of ${w.window_ns / 1e9} s, ${curveName(w.aggression)}`,
    colour: '--expected', dashed: true, values: x.map((t) => (t < 0 ? null : shareAt(w, t))),
  }));
  const part = (v: (number | null)[]): (number | null)[] => {
    const even = smooth(v, reach);
    const most = Math.max(...even.map((n) => n ?? 0));
    return most > 0 ? even.map((n) => (n === null ? null : n / most)) : even;
  };
  const panels: Panel[] = [
    relative
      ? { name: 'Requests, of its own highest rate', unit: 'share', height: 230, traces: traces((p) => p.requests, part) }
      : { name: 'Requests per second', unit: 'rate', height: 230, traces: traces((p) => p.requests) },
    { name: 'Share of its full weight', unit: 'share', height: 140, traces: [...traces((p) => p.share), ...wanted] },
    { name: 'p99 latency', unit: 'ms', height: 120, traces: traces((p) => (p.p99_ms ? p.p99_ms : undefined)) },
  ];
  return {
    title: 'Compared', zero: 'since each was offered to requests', origin: 0, x,
    panels: panels.filter((p) => p.traces.some((t) => t.values.some((v) => v !== null))), marks: [],
  };
}

/** What a picture says at one place, in words: for a cursor that is heard. */
export function spoken(p: Picture, i: number, format: (unit: Panel['unit'], v: number) => string): string {
  const at = p.x[i];
  if (at === undefined) return '';
  const said = p.panels.flatMap((panel) =>
    panel.traces.flatMap((t) => {
      const v = t.values[i];
      return v === null || v === undefined ? [] : [`${t.label} ${format(panel.unit, v)}`];
    }),
  );
  const marks = p.marks.filter((m) => Math.floor(m.x) === Math.floor(at)).map((m) => m.label);
  return [`${Math.round(at)} s`, ...marks, ...(said.length ? said : ['nothing known'])].join(', ');
}

function unix(time: string): number {
  return Date.parse(time) / 1000;
}
