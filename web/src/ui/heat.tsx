// A heat map: how many answers took how long, step by step. One pixel of an image is one step's count in one row; the canvas makes it as
// large as it is shown.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Heat } from '../api';
import { clock, count, ms } from '../format';
import { colour, useTheme } from './theme';
import { useWidth } from './size';

const left = 54; // room for the axis, as charts have it
const bottom = 20;

export function HeatMap({ heat, label, height = 200 }: { heat: Heat; label: string; height?: number }) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const theme = useTheme();
  const [under, setUnder] = useState<[number, number]>();
  const rows = useMemo(() => used(heat), [heat]);
  const shown = rows[1] - rows[0];

  useEffect(() => {
    if (canvas.current && width > 0) draw(canvas.current, heat, rows, width, height);
  }, [heat, rows, width, height, theme]);

  const at = (e: MouseEvent) => {
    const r = e.currentTarget instanceof HTMLElement ? e.currentTarget.getBoundingClientRect() : undefined;
    if (!r || heat.counts.length === 0) return;
    const step = Math.floor(((e.clientX - r.left - left) / (width - left)) * heat.counts.length);
    const row = rows[1] - 1 - Math.floor(((e.clientY - r.top) / (height - bottom)) * shown);
    setUnder(step >= 0 && step < heat.counts.length && row >= rows[0] && row < rows[1] ? [step, row] : undefined);
  };
  const key = (e: KeyboardEvent) => {
    const [step, row] = under ?? [heat.counts.length - 1, rows[0]];
    const to = ({ ArrowLeft: [step - 1, row], ArrowRight: [step + 1, row], ArrowUp: [step, row + 1], ArrowDown: [step, row - 1] } as Record<string, [number, number]>)[e.key];
    if (!to) return;
    e.preventDefault();
    setUnder([Math.max(0, Math.min(heat.counts.length - 1, to[0])), Math.max(rows[0], Math.min(rows[1] - 1, to[1]))]);
  };
  return (
    <figure class="chart heat">
      <div ref={box} class="plot" role="application" tabIndex={0} aria-label={`${label}. Arrow keys move through time and latency.`} onMouseMove={at} onMouseLeave={() => setUnder(undefined)} onKeyDown={key}>
        <canvas ref={canvas} style={{ height: `${height}px` }} />
        {under && <Box at={under} heat={heat} rows={rows} width={width} height={height} />}
      </div>
      <figcaption class="legend" aria-live="polite">
        {under ? <span>{clock((heat.from + under[0] * heat.step_s) * 1000)}: <b>{count(heat.counts[under[0]]?.[under[1]] ?? 0)}</b> answers in {span(heat, under[1])}</span> : <span>The stronger the colour, the more answers took so long.</span>}
      </figcaption>
    </figure>
  );
}

function Box({ at: [step, row], heat, rows, width, height }: { at: [number, number]; heat: Heat; rows: [number, number]; width: number; height: number }) {
  const w = (width - left) / heat.counts.length;
  const h = (height - bottom) / (rows[1] - rows[0]);
  return <i class="box" style={{ left: `${left + step * w}px`, top: `${(rows[1] - 1 - row) * h}px`, width: `${Math.max(2, w)}px`, height: `${h}px` }} />;
}

function span(heat: Heat, row: number): string {
  const below = heat.edges_ms[row - 1];
  const above = heat.edges_ms[row];
  if (above === undefined) return `more than ${ms(below)}`;
  return below === undefined ? `up to ${ms(above)}` : `${ms(below)} to ${ms(above)}`;
}

/** The rows that hold anything, with one more at each side; at least eight. */
function used(heat: Heat): [number, number] {
  const rows = heat.edges_ms.length + 1;
  let from = rows;
  let to = 0;
  for (const step of heat.counts) {
    step?.forEach((n, row) => {
      if (n > 0) {
        from = Math.min(from, row);
        to = Math.max(to, row + 1);
      }
    });
  }
  if (to === 0) return [0, Math.min(rows, 12)];
  from = Math.max(0, from - 1);
  to = Math.min(rows, Math.max(to + 1, from + 8));
  return [from, to];
}

function draw(canvas: HTMLCanvasElement, heat: Heat, [from, to]: [number, number], width: number, height: number): void {
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const g = canvas.getContext('2d');
  if (!g || heat.counts.length === 0) return;
  g.scale(scale, scale);
  g.imageSmoothingEnabled = false;
  g.drawImage(image(heat, from, to), left, 0, width - left, height - bottom);
  g.fillStyle = colour('--text-3');
  g.font = `11px ${getComputedStyle(canvas).fontFamily}`;
  g.textAlign = 'right';
  g.textBaseline = 'middle';
  const row = (height - bottom) / (to - from);
  const every = Math.max(1, Math.ceil(26 / row));
  for (let r = from; r < to && r < heat.edges_ms.length; r += every) {
    const y = (to - 1 - r) * row;
    if (y > 5) g.fillText(ms(heat.edges_ms[r]), left - 6, y);
  }
  g.textAlign = 'center';
  g.textBaseline = 'bottom';
  const span = heat.counts.length * heat.step_s;
  const tick = ticks.find((n) => span / n <= (width - left) / 90) ?? 86400;
  for (let t = Math.ceil((heat.from + 1) / tick) * tick; t < heat.from + span; t += tick) {
    const x = left + ((t - heat.from) / span) * (width - left);
    if (x > left + 24 && x < width - 24) g.fillText(clock(t * 1000).replace(/:00$/, ''), x, height - 3);
  }
}

const ticks = [5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400];

function image(heat: Heat, from: number, to: number): HTMLCanvasElement {
  const rows = to - from;
  const into = Object.assign(document.createElement('canvas'), { width: heat.counts.length, height: rows });
  const g = into.getContext('2d')!;
  const pixels = g.createImageData(heat.counts.length, rows);
  const [r0, g0, b0] = parts('--heat-0');
  const [r1, g1, b1] = parts('--heat-1');
  const most = Math.max(1, ...heat.counts.map((step) => (step ? Math.max(...step) : 0)));
  heat.counts.forEach((step, x) => {
    for (let row = 0; row < rows; row++) {
      const n = step?.[from + row] ?? 0;
      const how = n > 0 ? 0.12 + 0.88 * Math.sqrt(n / most) : 0; // a single slow answer is to be seen beside a thousand fast ones
      const p = ((rows - 1 - row) * heat.counts.length + x) * 4;
      pixels.data[p] = r0 + (r1 - r0) * how;
      pixels.data[p + 1] = g0 + (g1 - g0) * how;
      pixels.data[p + 2] = b0 + (b1 - b0) * how;
      pixels.data[p + 3] = step ? 255 : 0;
    }
  });
  g.putImageData(pixels, 0, 0);
  return into;
}

function parts(token: string): [number, number, number] {
  const [r = 0, g = 0, b = 0] = (colour(token).match(/[\d.]+/g) ?? []).map(Number);
  return [r, g, b];
}
