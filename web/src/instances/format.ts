import { clock, ms, percent, rate } from '../format';
import type { Panel } from './picture';

/** A number of a panel, in its unit. */
export function figure(unit: Panel['unit'], v: number): string {
  return unit === 'rate' ? `${rate(v)}/s` : unit === 'share' ? percent(v) : ms(v);
}

/** The same for an axis: as short as it can be. */
export function tick(unit: Panel['unit'], v: number): string {
  if (unit === 'share') return `${Math.round(v * 100)} %`;
  if (unit === 'ms') return v >= 1000 ? `${+(v / 1000).toPrecision(3)} s` : `${+v.toPrecision(3)} ms`;
  return v >= 1000 ? `${+(v / 1000).toPrecision(3)}k` : `${+v.toPrecision(3)}`;
}

/** A moment of a picture: how long since its zero, and what the clock said. */
export function stamp(x: number, origin: number): string {
  return origin === 0 ? offset(x) : `${offset(x)} · ${clock(new Date((origin + x) * 1000))}`;
}

/** Seconds from a zero: -90 → "−1:30", 5 → "+5 s". */
export function offset(x: number): string {
  const s = Math.round(Math.abs(x));
  const sign = x < -0.5 ? '−' : s === 0 ? '' : '+';
  return s < 60 ? `${sign}${s} s` : `${sign}${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}
