// A picture as an image, for a ticket or a report.

import { colour } from '../ui/theme';
import type { Canvases } from './Drawn';
import type { Panel, Trace } from './picture';

const pad = 24; // CSS pixels
const head = 74;
const row = 24; // of a legend
const family = 'system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';

/** Draws pictures beneath each other, with a title and legends, as they are on the page, and makes a PNG of it. */
export function image(title: string, sub: string, pictures: readonly Canvases[]): Promise<Blob> {
  const ratio = devicePixelRatio;
  const panels = pictures.flatMap((p) => p.of.map((of, i) => ({ ...of, title: i === 0 ? p.picture.title : '' })));
  const width = Math.max(480, ...panels.map((p) => p.canvas.width / ratio)) + 2 * pad;
  const height = panels.reduce((sum, p) => sum + p.canvas.height / ratio + row + (p.title ? 30 : 0), head + pad);
  const sheet = Object.assign(document.createElement('canvas'), { width: width * ratio, height: height * ratio });
  const ctx = sheet.getContext('2d')!;
  ctx.scale(ratio, ratio);
  ctx.fillStyle = colour('--surface');
  ctx.fillRect(0, 0, width, height);
  write(ctx, title, pad, 34, `600 19px ${family}`, '--text');
  write(ctx, sub, pad, 56, `12.5px ${family}`, '--text-2', width - 2 * pad);
  let y = head;
  for (const { panel, canvas, title: part } of panels) {
    if (part) {
      y += 30;
      write(ctx, part, pad, y - 8, `600 14px ${family}`, '--text');
    }
    legend(ctx, panel, y + 12);
    y += row;
    ctx.drawImage(canvas, pad, y, canvas.width / ratio, canvas.height / ratio);
    y += canvas.height / ratio;
  }
  return new Promise((done, fail) => sheet.toBlob((b) => (b ? done(b) : fail(new Error('this browser made no image of the canvas'))), 'image/png'));
}

function legend(ctx: CanvasRenderingContext2D, panel: Panel, y: number): void {
  let x = pad + write(ctx, panel.name, pad, y, `600 12px ${family}`, '--text') + 18;
  for (const t of panel.traces) {
    key(ctx, t, x, y - 4);
    x += 24 + write(ctx, t.label, x + 24, y, `12px ${family}`, '--text-2') + 18;
  }
}

function key(ctx: CanvasRenderingContext2D, t: Trace, x: number, y: number): void {
  ctx.strokeStyle = colour(t.colour);
  ctx.lineWidth = 2.5;
  ctx.setLineDash(t.dashed ? [5, 3] : []);
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(x + 18, y);
  ctx.stroke();
  ctx.setLineDash([]);
}

/** Writes text and returns its width. */
function write(ctx: CanvasRenderingContext2D, text: string, x: number, y: number, font: string, token: string, most?: number): number {
  ctx.font = font;
  ctx.fillStyle = colour(token);
  ctx.fillText(text, x, y, most);
  return ctx.measureText(text).width;
}

/** Hands a file to whoever looks. */
export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const a = Object.assign(document.createElement('a'), { href: url, download: name.replace(/[^\w.-]+/g, '_') });
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
