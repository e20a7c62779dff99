// What the API's words are called on the page.

import type { EndingKind, Stages, Sums } from '../api';
import { count } from '../format';
import { kindText } from '../releases/model';

/** The losses among sums, the most first: "12 × no answer in time, 1 × answered 5xx" */
export function lostShort(sums: Sums): string {
  const losses = (Object.entries(sums) as [EndingKind, number][]).filter(([k, n]) => k !== 'served' && k !== 'aborted' && n > 0);
  return losses.sort((a, b) => b[1] - a[1]).map(([k, n]) => `${count(n)} × ${kindText(k)}`).join(', ');
}

/** (serving, 3) → "3 serving" */
export const stageWords = (stage: keyof Stages, n: number): string => `${count(n)} ${stage}`;

const short: Record<string, string> = {
  'not-ready': 'fails its checks now',
  recovered: 'is back, on a shorter warm-up',
  budget: 'raised, to spare the warm',
  probe: 'raised, or it would starve',
  'bypass-single': 'nobody else is there',
  'bypass-all-cold': 'everybody is cold',
  manual: 'moved by hand',
  weight: 'its weight was changed',
  panic: 'too few others serve',
  elsewhere: 'others are nearer',
};

/** Why an endpoint's share is another than by its warm-up, in a few words; undefined where that is all there is to it. */
export const reasonShort = (reason: string | undefined): string | undefined => (reason !== undefined && Object.hasOwn(short, reason) ? short[reason] : undefined);

/** What a version is called that has no name. */
export const versionName = (name: string): string => name || 'no version';
