// How far back a service's page looks. Up to a quarter of an hour its curves are live, second by second; up to a day, minute by minute;
// beyond, as Prometheus knows it, where control was told of one.

import { useMemo } from 'preact/hooks';
import type { By, Curves, Heat } from '../api';
import type { Refusal } from '../call';
import { steps } from '../merge';
import { useGet, useSeries } from '../topics';

export const ranges = [['60', '1 min'], ['300', '5 min'], ['900', '15 min'], ['3600', '1 h'], ['21600', '6 h'], ['86400', '24 h'], ['604800', '7 d']] as const;
export type Range = (typeof ranges)[number][0];

interface Ranged { curves?: Curves; refusal?: Refusal }

const day = 86_400;

/** Whether a range is longer than what is kept here: then there are neither versions nor heat maps. */
export const beyond = (range: Range): boolean => Number(range) > day;

/** The curves of a service over a range that ends now. */
export function useRange(service: string, by: By, range: Range): Ranged {
  const live = Number(range) <= 900;
  const series = useSeries(live ? service : undefined, by);
  const kept = useGet<Curves>(live ? undefined : 'series', { service, by, ...(beyond(range) ? { step: 600, source: 'prometheus' } : { step: 60 }) }, 30_000, Number(range));
  const curves = useMemo(() => (series.value ? last(series.value, Number(range)) : undefined), [series.value, range]);
  return live ? { curves } : { curves: kept.value, refusal: kept.refusal };
}

/** The latency heat map of a range: at most 180 steps. */
export function useHeat(service: string, range: Range): { heat?: Heat; refusal?: Refusal } {
  const seconds = Number(range);
  const step = Math.max(1, Math.ceil(seconds / 180));
  const { value, refusal } = useGet<Heat>('heat', { service, step: seconds > 900 ? Math.max(60, step) : step }, Math.max(2000, step * 1000), seconds);
  return { heat: value, refusal };
}

/** The last seconds of curves. */
function last(c: Curves, seconds: number): Curves {
  const drop = Math.max(0, steps(c) - Math.ceil(seconds / c.step_s));
  if (drop === 0) return c;
  const cut = <T,>(column: T[] | undefined) => column?.slice(drop);
  return {
    from: c.from + drop * c.step_s,
    step_s: c.step_s,
    curves: c.curves.map((curve) => ({
      ...curve, requests: curve.requests.slice(drop), lost: cut(curve.lost), due: cut(curve.due), share: cut(curve.share),
      p50_ms: cut(curve.p50_ms), p99_ms: cut(curve.p99_ms), active: cut(curve.active), fraction: cut(curve.fraction),
    })),
  };
}
