import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import { useTheme } from '../ui/theme';
import { useWidth } from '../ui/size';
import { draw, named, type Now } from './draw';
import { figure, stamp } from './format';
import { spoken, type Panel, type Picture } from './picture';

/** The canvases of a drawn picture, for whoever makes an image of it. */
export interface Canvases {
  picture: Picture;
  of: { panel: Panel; canvas: HTMLCanvasElement }[];
}

/** Panels above each other over one stretch of time, with marks, a cursor for mouse and keyboard, and what it says in words. */
export function Drawn({ picture, hot = 0, top, drawn }: {
  picture: Picture;
  hot?: number; // the number of the mark that is pointed at in a list; 0 is none
  top?: number; // a rate that fits, where several pictures have one scale
  drawn?: (c: Canvases | null) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const theme = useTheme();
  const plots = useRef<uPlot[]>([]);
  const [at, setAt] = useState<number | null>(null);
  const now = useRef<Now>({ picture, hot, point: setAt });
  now.current = { picture, hot, point: setAt };

  // A picture that only grows by its newest second keeps its plots; another shape has others.
  const { lanes } = useMemo(() => (width > 0 ? named(picture, width) : { lanes: 0 }), [picture.marks, picture.x.length, width]);
  const shape = JSON.stringify([lanes, top, picture.panels.map((p) => [p.name, p.traces.map((t) => [t.label, t.colour])])]);

  useLayoutEffect(() => {
    const into = box.current;
    if (!into || width < 120) return;
    const { panels } = now.current.picture;
    const made = panels.map((panel, order) => draw({ panel, order, last: order === panels.length - 1, width, lanes, top }, panelBox(into, order), () => now.current));
    plots.current = made;
    drawn?.({ picture: now.current.picture, of: made.map((u, i) => ({ panel: panels[i]!, canvas: u.ctx.canvas })) });
    return () => {
      drawn?.(null);
      plots.current = [];
      for (const u of made) u.destroy();
    };
  }, [width, theme, shape]);

  useLayoutEffect(() => {
    plots.current.forEach((u, i) => u.setData([picture.x, ...picture.panels[i]!.traces.map((t) => t.values)]));
  }, [picture]);

  useEffect(() => {
    for (const u of plots.current) u.redraw(false);
  }, [hot]);

  const last = picture.x.length - 1;
  const shown = at ?? lastKnown(picture);
  return (
    <div class="drawn">
      <div
        class="drawn-plots" ref={box} role="slider" tabIndex={0} aria-label={`${picture.title}, second by second ${picture.zero}`}
        aria-valuemin={Math.round(picture.x[0] ?? 0)} aria-valuemax={Math.round(picture.x[last] ?? 0)}
        aria-valuenow={Math.round(picture.x[shown] ?? 0)} aria-valuetext={spoken(picture, shown, figure)}
        onKeyDown={(e) => {
          const to = step(e.key, shown, last);
          if (to === undefined) return;
          e.preventDefault();
          point(plots.current, picture, to);
          setAt(to);
        }}
        onBlur={() => {
          point(plots.current, picture, undefined);
          setAt(null);
        }}
      >
        {picture.panels.map((panel, order) => (
          <div key={panel.name} class="drawn-panel">
            <Legend panel={panel} i={shown} />
            <div class="drawn-canvas" data-order={order} />
          </div>
        ))}
      </div>
      <p class="drawn-x" aria-hidden="true">{at === null ? picture.zero : stamp(picture.x[at] ?? 0, picture.origin)}</p>
    </div>
  );
}

function panelBox(into: HTMLElement, order: number): HTMLElement {
  return into.querySelector<HTMLElement>(`[data-order="${order}"]`)!;
}

function Legend({ panel, i }: { panel: Panel; i: number }) {
  return (
    <div class="drawn-legend" aria-hidden="true">
      <b>{panel.name}</b>
      {panel.traces.map((t) => {
        const v = t.values[i];
        return (
          <span key={t.label} class="drawn-key">
            <i class={t.dashed ? 'swatch dashed' : 'swatch'} ref={(el) => el?.style.setProperty('color', `var(${t.colour})`)} />
            {t.label} <b>{v === null || v === undefined ? '–' : figure(panel.unit, v)}</b>
          </span>
        );
      })}
    </div>
  );
}

/** Where a key leads from a place; undefined leads nowhere. */
function step(key: string, from: number, last: number): number | undefined {
  const to: Record<string, number> = {
    ArrowLeft: from - 1, ArrowDown: from - 1, ArrowRight: from + 1, ArrowUp: from + 1,
    PageDown: from - 10, PageUp: from + 10, Home: 0, End: last,
  };
  return Object.hasOwn(to, key) ? Math.max(0, Math.min(last, to[key]!)) : undefined;
}

/** Puts the cursor of all plots at one step. */
function point(plots: readonly uPlot[], picture: Picture, i: number | undefined): void {
  for (const u of plots) {
    const left = i === undefined ? -10 : u.valToPos(picture.x[i] ?? 0, 'x');
    u.setCursor({ left, top: i === undefined ? -10 : 1 });
  }
}

function lastKnown(picture: Picture): number {
  const values = picture.panels[0]?.traces[0]?.values ?? [];
  for (let i = values.length - 1; i >= 0; i--) if (values[i] !== null) return i;
  return 0;
}
