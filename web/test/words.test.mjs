import assert from 'node:assert/strict';
import { test } from 'node:test';
import { source } from './source.mjs';

const { readDiff, sumDiff } = await source('settings/diff.ts');
const { actsFor } = await source('acts/words.ts');
const { markWords } = await source('instances/marks.ts');
const { lines, ticks } = await source('releases/lives.ts');
const { adviceOn, diedDuring, totals, warmTimes } = await source('releases/model.ts');
const { newestFirst } = await source('events/order.ts');

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

test('what was lost is explained, the most telling first; nothing lost asks for nothing', () => {
  const of = (r) => adviceOn({ losses: [], ...r }).map((a) => a.of).join(' ');
  assert.equal(of({ requests: { served: 9 }, drains: { killed: 1, cut: 0 } }), '', 'somebody was killed, and it cost nothing');
  assert.equal(of({ requests: { served: 9, '5xx': 8 }, drains: { killed: 2, cut: 0 }, losses: [{ kind: '5xx', side: 'endpoint', n: 8 }] }), 'killed 5xx');
  const losses = [{ kind: 'reset', side: 'endpoint', service: 'a', n: 1 }, { kind: 'no-endpoint', side: 'gateway', service: 'a', n: 3 }, { kind: 'reset', side: 'endpoint', service: 'b', n: 5 }];
  assert.equal(of({ requests: { served: 1, reset: 6, 'no-endpoint': 3 }, drains: { killed: 0, cut: 6 }, losses }), 'cut reset no-endpoint');
  assert.equal(of({ requests: { served: 1 }, drains: null, lost_after: 1 }), 'after');
  const r = { began: '2026-01-01T00:00:10Z', ended: '2026-01-01T00:00:20Z', services: ['a:80'], requests: { grpc: 1 }, losses: [] };
  const one = (id, ended, service = 'a:80', killed = true) => ({ id, ended: `2026-01-01T00:00:${ended}Z`, services: [service], killed });
  const died = diedDuring(r, [one('before', '05'), one('it', '15'), one('other', '15', 'b:80'), one('left', '15', 'a:80', false), one('after', '40'), { id: 'runs', services: ['a:80'] }]);
  assert.deepEqual(died.map((e) => e.id), ['it']);
  assert.deepEqual(adviceOn(r, died.length).map((a) => a.of), ['killed'], 'somebody who is none of the release');
  for (const a of adviceOn({ requests: { reset: 1 }, losses: [{ kind: 'reset', n: 1 }], drains: { killed: 1, cut: 1 } })) assert.match(`${a.what} ${a.todo}`, /^\S.*: \S.*\.$/);
});

test('events stand in the order of when they were, however late they were told', () => {
  const at = (s, kind) => ({ time: `2026-01-01T00:00:${s}Z`, kind });
  assert.deepEqual(newestFirst([at('05', 'b'), at('01', 'late'), at('04.5', 'a'), at('05', 'c')]).map((e) => e.kind), ['b', 'c', 'a', 'late']);
});
