import assert from 'node:assert/strict';
import { test } from 'node:test';
import { source } from './source.mjs';

const { readDiff, sumDiff } = await source('settings/diff.ts');
const { actsFor } = await source('acts/words.ts');
const { markWords } = await source('instances/marks.ts');
const { lines, ticks } = await source('releases/lives.ts');
const { totals, warmTimes } = await source('releases/model.ts');

test('a unified diff is read with the numbers of both sides, and text that looks like its signs stays text', () => {
  const got = readDiff('--- a/x\n+++ b/x\n@@ -3,3 +3,3 @@ spec\n a\n--- b\n+++ c\n d\n\\ No newline at end of file\n');
  assert.deepEqual(got.slice(1), [
    { kind: 'same', before: 3, after: 3, text: 'a' }, { kind: 'gone', before: 4, after: 0, text: '-- b' },
    { kind: 'new', before: 0, after: 4, text: '++ c' }, { kind: 'same', before: 5, after: 5, text: 'd' },
  ]);
  assert.equal(sumDiff(got), '1 line added, 1 line removed');
  assert.equal(sumDiff(readDiff('')), 'no change');
});

test('acts are those that make sense for what something is now', () => {
  const of = (s) => actsFor({ namespace: 'default', name: 'x', ...s }).map((a) => a.action).join(' ');
  assert.equal(of({ kind: 'endpoint', stage: 'Warming' }), 'warmup.skip warmup.pause warmup.restart weight');
  assert.equal(of({ kind: 'endpoint', stage: 'Warming', paused: true }), 'warmup.skip warmup.resume warmup.restart weight');
  assert.equal(of({ kind: 'endpoint', stage: 'Serving' }), 'warmup.restart weight');
  assert.equal(of({ kind: 'endpoint', stage: 'Draining' }), '');
  assert.equal(of({ kind: 'gateway', stage: 'serving' }), 'drain');
  assert.equal(of({ kind: 'gateway', stage: 'draining' }), 'undrain');
  assert.equal(of({ kind: 'gateway', stage: 'gone' }), '');
  assert.equal(of({ kind: 'deployment', replicas: 2 }), 'scale restart');
  assert.equal(of({ kind: 'gateway', replicas: 2 }), 'scale restart');
});

test('a kind of event that nobody knows is called by its own name, also where it is the name of something else', () => {
  assert.equal(markWords('toString').label, 'toString');
  assert.deepEqual(markWords('moon.landed'), { label: 'moon landed', tone: 'quiet', means: '' });
});

test('lives over a release: within it, in the order in which they came and went, and of nobody who was not there', () => {
  const iso = (t) => new Date(t * 1000).toISOString();
  const row = (id, began, o = {}) => ({ id, name: id, began: iso(began), ...Object.fromEntries(Object.entries(o).map(([k, v]) => [k, typeof v === 'number' ? iso(v) : v])) });
  const got = lines([
    row('old', 0, { offered: 5, warm: 20, left: 130, ended: 134, killed: true }), row('b', 110, { offered: 116 }), row('a', 105, { offered: 110, warm: 150 }), row('before', 1, { ended: 50 }),
  ], ['a', 'b'], 100, 160);
  assert.deepEqual(got.map((l) => [l.id, l.came, l.killed, l.bars.map((b) => `${b.phase} ${b.from}-${b.to}`).join(' ')]), [
    ['a', true, false, 'starting 105-110 warming 110-150 serving 150-160'],
    ['b', true, false, 'starting 110-116 warming 116-160'],
    ['old', false, true, 'serving 100-130 draining 130-134'],
  ]);
  assert.deepEqual(ticks(60), [0, 10, 20, 30, 40, 50, 60]);
  for (let span = 1; span < 100_000; span += 37) assert.ok(ticks(span).length <= 9, `${span} s has ${ticks(span).length} ticks`);
});

test('what a release came to adds up', () => {
  assert.deepEqual(totals({ served: 10, aborted: 2, reset: 3, parted: 1 }), { ended: 16, served: 10, aborted: 2, lost: 4 });
  assert.deepEqual(totals(undefined), { ended: 0, served: 0, aborted: 0, lost: 0 });
  assert.deepEqual(warmTimes({ warm: [{ warm_ns: 9e9 }, { warm_ns: 0 }, { warm_ns: 3e9 }, { warm_ns: 5e9 }] }), { median: 5, longest: 9, warm: 3 });
});
