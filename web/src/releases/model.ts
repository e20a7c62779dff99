// A release's parts in words.

import type { EndingKind, EpisodeRow, Release, Side, Sums } from '../api';

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

/** Something that a release's losses, cuts or ends have to do with, and what to do about it. */
export interface Advice { of: 'killed' | 'cut' | 'after' | EndingKind; what: string; todo: string }

const todos: Partial<Record<EndingKind, string>> = {
  'no-endpoint': 'Keep one that is ready while others come: more replicas, a maxUnavailable of 0, or a readiness probe that passes only when an instance can serve.',
  overflow: 'A limit of its DestinationRule’s connectionPool was reached: fewer instances carried what all carry otherwise. Raise it, or have fewer of them away at once.',
  parted: 'A replica of the gateway left, and its time was over: give it more in Settings, Gateways.',
  fault: 'It is ours: keep the JSON of this release, and say so.',
  refused: 'Nobody listened there any more: its process ended before it was taken out of service. It needs an agent beside it, and time to stop.',
  reset: 'Its process ended, or closed connections, with requests open: it needs to serve them to the end before it stops.',
  cut: 'Its process ended in the middle of answers: give it more time to stop.',
  timeout: 'It was given more than it could do: a longer warm-up, or more instances.',
  '5xx': 'An application said so itself, or its agent, because it could not be reached: see which attempts failed, and its log.',
  grpc: 'An application said so itself, or its agent, because it could not be reached: see which attempts failed, and its log.',
};

/** What may explain a release's losses, the most telling first; nothing where nothing was lost or cut. died is how many instances of its
 * services ended without leaving meanwhile, its own and others. */
export function adviceOn(r: Release, died = 0): Advice[] {
  const all: Advice[] = [];
  const { lost } = totals(r.requests);
  const { cut = 0 } = r.drains ?? {};
  const killed = Math.max(died, r.drains?.killed ?? 0);
  const n = (many: number, what: string) => (many === 1 ? `One ${what}` : `${many} ${what}s`);
  if (lost + cut > 0 && killed > 0) {
    all.push({ of: 'killed', what: `${n(killed, 'instance')} ended without leaving:`, todo: 'killed from outside, out of memory, or failed. What is open to somebody who ends so is lost, and cannot be drained.' });
  }
  if (cut > 0) all.push({ of: 'cut', what: `${n(cut, 'request')} ${cut === 1 ? 'was' : 'were'} open when the time to drain was over:`, todo: 'give instances more, by terminationGracePeriodSeconds of the Deployment.' });
  const kinds = new Map<EndingKind, number>();
  for (const l of r.losses ?? []) kinds.set(l.kind, (kinds.get(l.kind) ?? 0) + l.n);
  for (const [kind, many] of [...kinds].sort((a, b) => b[1] - a[1])) {
    const todo = todos[kind];
    if (todo) all.push({ of: kind, what: `${many} × ${kindText(kind)}:`, todo: todo.charAt(0).toLowerCase() + todo.slice(1) });
  }
  if (r.lost_after) all.push({ of: 'after', what: `${n(r.lost_after, 'request')} ${r.lost_after === 1 ? 'was' : 'were'} lost in the minute after:`, todo: 'in no verdict of this release, though what waited long may have been sent while it ran.' });
  return all;
}

/** The instances of a release's services that ended without leaving while it ran, or so soon after that it has to do with it. */
export function diedDuring(r: Release, episodes: readonly EpisodeRow[], now = Date.now()): EpisodeRow[] {
  const from = Date.parse(r.began) - 1000;
  const to = (r.ended ? Date.parse(r.ended) : now) + 5000;
  return episodes.filter((e) => e.killed && e.ended && Date.parse(e.ended) >= from && Date.parse(e.ended) <= to && (e.services ?? []).some((s) => (r.services ?? []).includes(s)));
}
