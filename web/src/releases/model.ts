// A release's parts in words.

import type { EndingKind, Release, Side, Sums } from '../api';

const kinds: Record<EndingKind, string> = {
  served: 'served', aborted: 'given up by its client', 'no-endpoint': 'nobody to send it to', overflow: 'refused by a limit', parted: 'ended in a leave of ours',
  fault: 'an error of ours', refused: 'no connection', reset: 'reset before an answer', cut: 'answer broken off', timeout: 'no answer in time', '5xx': 'answered 5xx', grpc: 'call failed',
};

const sides: Record<Side, string> = { '': '', client: 'client', gateway: 'gateway', endpoint: 'endpoint' };

export const kindText = (k: string): string => (Object.hasOwn(kinds, k) ? kinds[k as EndingKind] : k);
export const sideText = (s: string): string => (Object.hasOwn(sides, s) ? sides[s as Side] : s);

/** How many there are of sums: all that ended, all that were lost, all that clients gave up. */
export function totals(sums: Sums | undefined): { ended: number; served: number; lost: number; aborted: number } {
  let ended = 0;
  for (const n of Object.values(sums ?? {})) ended += n;
  const served = sums?.served ?? 0;
  const aborted = sums?.aborted ?? 0;
  return { ended, served, aborted, lost: ended - served - aborted };
}

/** Median and longest time to warm, in seconds, of those that are warm. */
export function warmTimes(r: Release): { median?: number; longest?: number; warm: number } {
  const known = (r.warm ?? []).map((w) => w.warm_ns / 1e9).filter((s) => s > 0).sort((a, b) => a - b);
  if (known.length === 0) return { warm: 0 };
  return { median: known[Math.floor((known.length - 1) / 2)], longest: known[known.length - 1], warm: known.length };
}
