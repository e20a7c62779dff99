// Curves over time: uPlot draws them; beside it are a legend with the numbers under the cursor, arrow keys that move the cursor, and
// the same numbers as a table.

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Column } from '../api';
import { clock } from '../format';
import { colour, useTheme } from './theme';

export interface Line {
  label: string;
  /** A variable of the style sheet: "--series-1". */
  colour: string;
  values: Column;
  dashed?: boolean;
  filled?: boolean;
  width?: number;
}

export interface TimeChartProps {
  label: string;
  /** Unix seconds, ascending; as many as each line has values. */
  x: number[];
  lines: Line[];
  /** Writes a number: format.rate, format.ms, … */
  write(n: number): string;
  height?: number;
  /** The scale goes at least so far; for shares, 1. */
  top?: number;
  /** Charts of one key move their cursors together. */
  sync?: string;
}

const most = 14; // lines that the legend names

export function TimeChart(p: TimeChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const cursor = useRef<(at: number | null) => void>(() => undefined);
  const [off, setOff] = useState<ReadonlySet<string>>(new Set());
  const chart = usePlot(p, box, cursor, off);
  const toggle = (label: string) => setOff((was) => {
    const now = new Set(was);
    if (!now.delete(label)) now.add(label);
    return now;
  });
  const key = (e: KeyboardEvent) => {
    if (chart.current && moved(chart.current, p.x, e.key)) e.preventDefault();
  };
  return (
    <figure class="chart">
      <div ref={box} class="plot" role="application" tabIndex={0} aria-label={`${p.label}. Arrow keys move through time.`} onKeyDown={key} />
      <Legend chart={p} cursor={cursor} off={off} toggle={toggle} />
      <AsTable chart={p} />
    </figure>
  );
}

/** The chart in a box: made anew when what it looks like changes, filled anew when only its numbers do. */
function usePlot(p: TimeChartProps, box: { current: HTMLElement | null }, cursor: { current: (at: number | null) => void }, off: ReadonlySet<string>) {
  const chart = useRef<uPlot | undefined>(undefined);
  const theme = useTheme();
  const data = useMemo(() => [p.x, ...p.lines.map((l) => l.values)] as uPlot.AlignedData, [p.x, p.lines]);
  const latest = useRef(p);
  latest.current = p;
  const shape = p.lines.map((l) => [l.label, l.colour, l.dashed, l.filled, l.width].join()).join('\n');
  useEffect(() => {
    const node = box.current;
    if (!node) return;
    const u = new uPlot(options(latest.current, node.clientWidth, (at) => cursor.current(at)), data, node);
    chart.current = u;
    const sizes = new ResizeObserver(() => {
      const width = node.clientWidth;
      if (width > 0 && Math.abs(width - u.width) > 1) u.setSize({ width, height: u.height });
    });
    sizes.observe(node);
    return () => {
      sizes.disconnect();
      u.destroy();
      chart.current = undefined;
    };
  }, [shape, theme, p.height, p.top, p.sync]);
  useEffect(() => {
    if (chart.current && chart.current.data !== data) chart.current.setData(data);
  }, [data]);
  useEffect(() => {
    p.lines.forEach((l, i) => {
      const u = chart.current;
      if (u && u.series[i + 1]?.show === off.has(l.label)) u.setSeries(i + 1, { show: !off.has(l.label) });
    });
  }, [off, shape, theme]);
  return chart;
}

/** Moves a chart's cursor as a key says; false where the key says nothing. */
function moved(u: uPlot, x: number[], key: string): boolean {
  const at = u.cursor.idx ?? x.length - 1;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 30, PageDown: at + 30, Home: 0, End: x.length - 1 }[key];
  if (to === undefined || x.length === 0) return false;
  const i = Math.max(0, Math.min(x.length - 1, to));
  const top = u.cursor.top && u.cursor.top > 0 ? u.cursor.top : u.bbox.height / devicePixelRatio / 2;
  u.setCursor({ left: u.valToPos(x[i] ?? 0, 'x'), top });
  return true;
}

function writeValue(p: TimeChartProps, l: Line, at: number): string {
  const v = l.values[at];
  return v === null || v === undefined ? '–' : p.write(v);
}

/** The lines by name with what they are under the cursor, or at the end where there is none. A click hides one. */
function Legend(p: { chart: TimeChartProps; cursor: { current: (at: number | null) => void }; off: ReadonlySet<string>; toggle(label: string): void }) {
  const [under, set] = useState<number | null>(null);
  p.cursor.current = set;
  const { x, lines } = p.chart;
  const at = under !== null && under < x.length ? under : lastKnown(p.chart);
  return (
    <div class="legend">
      <span class="faint" aria-live={under === null ? 'off' : 'polite'} style={{ minWidth: '74px', padding: '2px 0' }}>{at < x.length ? clock(x[at]! * 1000) : ''}</span>
      {lines.slice(0, most).map((l) => (
        <button key={l.label} type="button" aria-pressed={!p.off.has(l.label)} onClick={() => p.toggle(l.label)}>
          <span class={`swatch ${l.dashed ? 'dashed' : ''}`} style={{ color: `var(${l.colour})` }} />
          {l.label}<b>{writeValue(p.chart, l, at)}</b>
        </button>
      ))}
      {lines.length > most && <span class="faint" style={{ padding: '2px 8px' }}>{`and ${lines.length - most} more`}</span>}
    </div>
  );
}

/** The last step at which any line has a value. */
function lastKnown(p: TimeChartProps): number {
  for (let i = p.x.length - 1; i > 0; i--) {
    if (p.lines.some((l) => l.values[i] !== null && l.values[i] !== undefined)) return i;
  }
  return 0;
}

function AsTable({ chart: p }: { chart: TimeChartProps }) {
  const [open, set] = useState(false);
  return (
    <details onToggle={(e) => set(e.currentTarget.open)}>
      <summary>As a table</summary>
      {open && (
        <div class="table dense" tabIndex={0} role="region" aria-label={`${p.label}, as a table`}>
          <table>
            <thead><tr><th scope="col"><span>Time</span></th>{p.lines.map((l) => <th key={l.label} scope="col" class="number"><span>{l.label}</span></th>)}</tr></thead>
            <tbody>
              {p.x.map((x, i) => ({ x, i })).slice(-900).reverse().map(({ x, i }) => (
                <tr key={x}><th scope="row"><span>{clock(x * 1000)}</span></th>{p.lines.map((l) => <td key={l.label} class="number">{writeValue(p, l, i)}</td>)}</tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

const rawFont = (size: number) => `${size}px ${getComputedStyle(document.documentElement).getPropertyValue('--font')}`;

function options(p: TimeChartProps, width: number, cursor: (at: number | null) => void): uPlot.Options {
  const axis = { stroke: colour('--text-3'), font: rawFont(11), ticks: { show: false } };
  const upTo = (_: uPlot, __: number, max: number): [number, number] => [0, Math.max(p.top ?? 0, max > 0 ? max * 1.06 : 0) || 1];
  return {
    width: Math.max(80, width),
    height: p.height ?? 220,
    padding: [10, 20, 0, 0],
    legend: { show: false },
    focus: { alpha: 0.3 },
    cursor: {
      y: false,
      points: { size: 7 },
      drag: { x: false, y: false },
      focus: { prox: p.lines.length > 2 ? 12 : -1 },
      ...(p.sync ? { sync: { key: p.sync } } : {}),
    },
    hooks: { setCursor: [(u) => cursor(u.cursor.idx ?? null)] },
    scales: { y: { range: upTo } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, gap: 4, space: 70, values: clocks },
      { ...axis, grid: { stroke: colour('--line'), width: 1 }, size: 54, gap: 6, space: 34, values: (_, at) => at.map((n) => beside(n, p.write)) },
    ],
    series: [{}, ...p.lines.map((l) => lineOptions(l))],
  };
}

/** A number beside an axis: without the digits that only a measured number needs. */
const beside = (n: number, write: (n: number) => string): string => (n === 0 ? '0' : write(n).replace(/\.0(?=\D|$)/, ''));

function lineOptions(l: Line): uPlot.Series {
  const stroke = colour(l.colour);
  return {
    label: l.label,
    stroke,
    width: l.width ?? 1.6,
    points: { show: false },
    ...(l.dashed ? { dash: [5, 4] } : {}),
    ...(l.filled ? { fill: colour(l.colour, 0.12) } : {}),
  };
}

function clocks(_: uPlot, at: number[]): string[] {
  return at.map((x) => {
    const s = clock(x * 1000);
    return x % 60 === 0 ? s.replace(/:00$/, '') : s;
  });
}

/** The moments of curves' steps: Unix seconds. */
export function moments(from: number, step: number, size: number): number[] {
  return Array.from({ length: size }, (_, i) => from + i * step);
}
