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

/** What a version is called that has no name. */
export const versionName = (name: string): string => name || 'no version';
