import { useMemo } from 'preact/hooks';
import type { By, Column, Curve, Curves, VersionRow } from '../api';
import { ms, percent, rate } from '../format';
import { series } from '../ui/theme';
import { Refused } from '../ui/dialog';
import { Card, Loading } from '../ui/parts';
import { TimeChart, moments, type Line } from '../ui/timechart';
import { useRange, type Range } from './ranges';
import { versionName } from './words';

const height = 210;
const wholePart = (n: number) => percent(n, 0);

/** Four charts over the same time, with one cursor: requests, expected against actual, latency, losses. */
export function ServiceCharts(p: { service: string; versions: VersionRow[]; by: By; range: Range }) {
  const { curves: all, refusal } = useRange(p.service, p.by, p.range);
  const curves = useMemo(() => all && { ...all, curves: all.curves.filter((c, i) => (i === 0 && all.curves.length === 1) || passed(c)) }, [all]);
  const whole = useRange(p.service, 'whole', p.range);
  const names = p.versions.map((v) => v.name).join('\n');
  const x = useMemo(() => (curves ? momentsOf(curves) : []), [curves]);
  const wholeX = useMemo(() => (whole.curves ? momentsOf(whole.curves) : []), [whole.curves]);
  const requests = useMemo(() => (curves ? requestLines(curves, p.by, names) : []), [curves, p.by, names]);
  const shares = useMemo(() => (curves ? shareLines(curves, p.by, names) : []), [curves, p.by, names]);
  const latency = useMemo(() => latencyLines(whole.curves?.curves[0]), [whole.curves]);
  const losses = useMemo(() => lossLines(whole.curves?.curves[0], p.by === 'whole' ? undefined : curves, p.by, names), [whole.curves, curves, p.by, names]);
  if (refusal) return <Refused refusal={refusal} />;
  if (!curves) return <Loading what="the curves" />;
  const key = `${p.service}${p.range}`;
  return (
    <div class="columns charts">
      <Card title={p.by === 'whole' ? 'Requests per second' : `Requests per second, by ${p.by}`}><TimeChart label={`Requests per second to ${p.service}`} x={x} lines={requests} write={rate} height={height} sync={key} /></Card>
      {p.by === 'whole'
        ? <Card title="Open at the end of each second"><TimeChart label="Requests open" x={x} lines={activeLines(curves)} write={rate} height={height} sync={key} /></Card>
        : <Card title="Share of requests: actual against expected"><TimeChart label="Share of requests, actual and expected" x={x} lines={shares} write={wholePart} top={1} height={height} sync={key} /></Card>}
      <Card title="Latency"><TimeChart label={`Latency of ${p.service}`} x={wholeX} lines={latency} write={ms} height={height} sync={key} /></Card>
      <Card title={p.by === 'whole' ? 'Lost per second' : 'Lost per second, and failed attempts'}><TimeChart label={`Lost per second at ${p.service}`} x={wholeX} lines={losses} write={rate} top={1} height={height} sync={key} /></Card>
    </div>
  );
}

/** Whether anything passed, or was due, in the range: versions that went before it began are not named. */
const passed = (c: Curve) => [c.requests, c.due].some((column) => column?.some((n) => (n ?? 0) > 0));

function momentsOf(c: Curves): number[] {
  return moments(c.from, c.step_s, c.curves.reduce((n, curve) => Math.max(n, curve.requests.length), 0));
}

/** A version keeps its colour everywhere on the page: its place among the service's versions. Endpoints have theirs by their place. */
function colourOf(c: Curve, i: number, by: By, names: string): string {
  if (by !== 'version') return series(i);
  const known = names.split('\n');
  const place = known.indexOf(c.name);
  return series(place < 0 ? known.length + i : place); // one that has gone
}

const label = (c: Curve, by: By) => (by === 'version' ? versionName(c.name) : c.name);

function requestLines(c: Curves, by: By, names: string): Line[] {
  if (by === 'whole') return c.curves.slice(0, 1).map((curve) => ({ label: 'requests', colour: '--series-1', values: curve.requests, filled: true }));
  return c.curves.map((curve, i) => ({ label: label(curve, by), colour: colourOf(curve, i, by, names), values: curve.requests, filled: c.curves.length === 1 }));
}

function activeLines(c: Curves): Line[] {
  return c.curves.slice(0, 1).map((curve) => ({ label: 'open', colour: '--series-3', values: curve.active ?? [], filled: true }));
}

const clearest = 6; // curves up to which what was expected is drawn beside each

function shareLines(c: Curves, by: By, names: string): Line[] {
  const got = parts(c.curves.map((curve) => curve.requests));
  const due = parts(c.curves.map((curve) => curve.due ?? []));
  const lines: Line[] = c.curves.map((curve, i) => ({ label: label(curve, by), colour: colourOf(curve, i, by, names), values: smooth(got[i]!), width: 2 }));
  if (c.curves.length > clearest) return lines;
  return [...lines, ...c.curves.map((curve, i): Line => ({ label: `${label(curve, by)} expected`, colour: colourOf(curve, i, by, names), values: smooth(due[i]!), dashed: true, width: 1.4 }))];
}

/** What part of their sum each column is, step by step. */
function parts(columns: Column[]): Column[] {
  const size = columns.reduce((n, c) => Math.max(n, c.length), 0);
  const sums = Array.from({ length: size }, (_, i) => columns.reduce((n, c) => n + (c[i] ?? 0), 0));
  return columns.map((c) => sums.map((sum, i) => (sum > 0 ? (c[i] ?? 0) / sum : null)));
}

/** The mean of five steps: a single second of few requests says little about shares. */
function smooth(c: Column): Column {
  return c.map((_, i) => {
    let sum = 0;
    let n = 0;
    for (let k = Math.max(0, i - 4); k <= i; k++) {
      const v = c[k];
      if (v !== null && v !== undefined) {
        sum += v;
        n++;
      }
    }
    return n > 0 ? sum / n : null;
  });
}

function latencyLines(c: Curve | undefined): Line[] {
  if (!c) return [];
  return [
    { label: 'p99', colour: '--series-2', values: c.p99_ms ?? [] },
    { label: 'p50', colour: '--series-6', values: c.p50_ms ?? [] },
  ];
}

function lossLines(whole: Curve | undefined, curves: Curves | undefined, by: By, names: string): Line[] {
  const lost: Line[] = whole ? [{ label: 'lost', colour: '--ejected', values: whole.lost ?? [], filled: true, width: 2 }] : [];
  if (by !== 'endpoint' || !curves) return lost;
  const failing = curves.curves.map((c, i) => ({ c, i })).filter(({ c }) => c.lost?.some((n) => (n ?? 0) > 0));
  return [...lost, ...failing.map(({ c, i }): Line => ({ label: `${label(c, by)} failed`, colour: colourOf(c, i, by, names), values: c.lost ?? [], dashed: true }))];
}
