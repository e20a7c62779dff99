// The canvases of a picture: one uPlot for each panel, with the marks of the picture over all of them.

import uPlot from 'uplot';
import { colour } from '../ui/theme';
import { offset, tick } from './format';
import { place, type Place } from './labels';
import { signs } from './marks';
import type { Panel, Picture, PictureMark, Trace } from './picture';

const laneHeight = 20; // CSS pixels
const mostLanes = 9;
const axisWidth = 54;
const edge = 20; // right of the plot
const under = 24; // the last panel's axis of time

/** What a drawing is asked while it is drawn: the newest picture, and which mark is pointed at. */
export interface Now {
  picture: Picture;
  hot: number;
  point(i: number | null): void;
}

/** Where the marks of a picture are named, and how much room that takes above the first panel. */
export interface Named {
  places: (Place | null)[];
  lanes: number;
}

export function named(p: Picture, width: number): Named {
  const first = p.x[0] ?? 0;
  const span = (p.x[p.x.length - 1] ?? 1) - first || 1;
  const plot = width - axisWidth - edge;
  const ctx = scratch();
  const labels = p.marks.map((m) => ({ x: axisWidth + ((m.x - first) / span) * plot, width: labelWidth(ctx, m) }));
  const places = place(labels, width - 2, mostLanes);
  return { places, lanes: places.reduce((n, at) => Math.max(n, at ? at.lane + 1 : 0), 0) };
}

/** Makes a panel. Its size is CSS pixels; it is destroyed by who made it. */
export function draw(of: { panel: Panel; order: number; last: boolean; width: number; lanes: number; top?: number }, into: HTMLElement, now: () => Now): uPlot {
  const { panel, order, last, width, lanes, top } = of;
  const head = order === 0 && lanes > 0 ? lanes * laneHeight + 6 : 8;
  const axis = { stroke: colour('--text-3'), font: font(), ticks: { show: false }, grid: { stroke: colour('--line'), width: 1 } };
  const u = new uPlot(
    {
      width,
      height: panel.height + head + (last ? under : 4),
      padding: [head, edge, last ? 0 : 4, 0],
      scales: { x: { time: false }, y: { range: (_u, _min, max) => range(panel, max, top) } },
      axes: [
        { ...axis, size: last ? under : 0, show: true, gap: 4, space: 64, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600], values: (_u, v) => v.map((s) => (last ? offset(s) : '')) },
        { ...axis, size: axisWidth, gap: 6, space: 30, values: (_u, v) => v.map((n) => tick(panel.unit, n)) },
      ],
      series: [{}, ...panel.traces.map(line)],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, sync: { key: 'crossfade-picture', setSeries: false } },
      hooks: {
        drawClear: [(self) => zero(self)],
        draw: [(self) => marks(self, order, now())],
        setCursor: [(self) => { if (order === 0) now().point(self.cursor.idx ?? null); }],
      },
    },
    [now().picture.x, ...panel.traces.map((t) => t.values)],
    into,
  );
  u.root.setAttribute('aria-hidden', 'true');
  return u;
}

/** A wide rate looks like nothing when it ends at its peak, and a share is read against 1. */
function range(panel: Panel, max: number | null, top?: number): [number, number] {
  if (panel.unit === 'share') return [0, Math.max(1.04, (max ?? 0) * 1.04)];
  const most = Math.max(top ?? 0, max ?? 0);
  return [0, most > 0 ? most * 1.1 : 1];
}

function line(t: Trace): uPlot.Series {
  const stroke = colour(t.colour);
  if (t.bars) return { label: t.label, stroke, fill: stroke, paths: uPlot.paths.bars!({ size: [0.7, 8, 2] }), points: { show: false } };
  return {
    label: t.label, stroke, width: t.dashed ? 1.5 : 2, spanGaps: false, points: { show: false },
    ...(t.dashed ? { dash: [5, 4] } : {}),
    ...(t.filled ? { fill: colour(t.colour, 0.13) } : {}),
  };
}

/** The line of x = 0, from which everything is counted. */
function zero(u: uPlot): void {
  const { ctx, bbox } = u;
  const x = Math.round(u.valToPos(0, 'x', true));
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  ctx.save();
  ctx.strokeStyle = colour('--line-strong');
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

function marks(u: uPlot, order: number, { picture, hot }: Now): void {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  const at = order === 0 ? named(picture, u.width) : undefined;
  ctx.save();
  picture.marks.forEach((m, i) => {
    const x = Math.round(u.valToPos(m.x, 'x', true));
    if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) return;
    const where = at?.places[i];
    ctx.strokeStyle = colour(toneColour[m.tone], hot === 0 ? 0.55 : m.number === hot ? 1 : 0.2);
    ctx.lineWidth = (m.number === hot ? 2 : 1) * ratio;
    ctx.setLineDash(m.number === hot ? [] : [2 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, where ? bbox.top - (where.lane * laneHeight + 10) * ratio : bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  });
  ctx.setLineDash([]);
  at?.places.forEach((where, i) => {
    const m = picture.marks[i]!;
    if (where) chip(u, m, where, hot === 0 || m.number === hot);
  });
  ctx.restore();
}

/** A mark's name: its number in the list of events, a sign for its tone, and a word. */
function chip(u: uPlot, m: PictureMark, where: Place, clear: boolean): void {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  const height = laneHeight - 3;
  const left = where.left * ratio;
  const top = bbox.top - (where.lane * laneHeight + height + 4) * ratio;
  const width = labelWidth(scratch(), m) * ratio;
  ctx.globalAlpha = clear ? 1 : 0.35;
  ctx.beginPath();
  ctx.roundRect(left, top, width, height * ratio, 4 * ratio);
  ctx.fillStyle = colour('--surface');
  ctx.fill();
  ctx.fillStyle = colour(toneColour[m.tone], 0.14);
  ctx.fill();
  ctx.font = font(ratio);
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  ctx.fillStyle = colour(toneColour[m.tone]);
  const middle = top + (height / 2 + 0.5) * ratio;
  ctx.fillText(signs[m.tone], left + 6 * ratio, middle);
  ctx.fillStyle = colour('--text');
  ctx.fillText(m.label, left + 20 * ratio, middle);
  ctx.globalAlpha = 1;
}

/** The colour of each tone. */
export const toneColour: Record<PictureMark['tone'], string> = {
  start: '--series-1', ready: '--serving', warm: '--warming', leave: '--draining', bad: '--ejected', quiet: '--text-3',
};

const font = (ratio = 1): string => `${12 * ratio}px system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif`;

function labelWidth(ctx: CanvasRenderingContext2D, m: PictureMark): number {
  ctx.font = font();
  return Math.ceil(ctx.measureText(m.label).width) + 27;
}

let measuring: CanvasRenderingContext2D | undefined;

function scratch(): CanvasRenderingContext2D {
  measuring ??= document.createElement('canvas').getContext('2d')!;
  return measuring;
}
