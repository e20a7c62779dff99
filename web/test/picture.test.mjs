import assert from 'node:assert/strict';
import { test } from 'node:test';
import { below, drawn, source } from './source.mjs';

const { chapters, column, figures, shareAt, smooth } = await source('instances/curve.ts');
const { overlay, pictures, spoken } = await source('instances/picture.ts');

const zero = Date.parse('2026-11-22T18:00:00Z') / 1000;
const iso = (t) => new Date((zero + t) * 1000).toISOString();
const point = (t, more = {}) => ({ t: zero + t, requests: 10, due: 10, share: 1, failed: 0, ...more });
const quadratic = { window_ns: 40e9, minimum: 0.1, aggression: 0.5 };

/** An instance that was offered at 0, was warm at 40, and of which seconds from..to are kept. */
function episode(from, to, more = {}) {
  const points = Array.from({ length: to - from + 1 }, (_, i) => point(from + i, { requests: from + i < 0 ? 0 : 10, due: from + i < 0 ? 0 : 10, share: from + i < 0 ? 0 : shareAt(quadratic, from + i) }));
  return { id: 'a', name: 'reviews-v2-1', began: iso(-6), offered: iso(0), warm: iso(40), running: true, warmup: quadratic, marks: [], points, services: [], ...more };
}

test('the share of a warm-up is that of internal/curve', () => {
  const table = [
    [{ window_ns: 120e9, aggression: 0.5 }, 60, 0.25], [{ window_ns: 120e9, aggression: 0.5 }, 90, 0.5625], [{ window_ns: 120e9 }, 30, 0.25],
    [{ window_ns: 120e9, aggression: 2 }, 30, 0.5], [{ window_ns: 120e9, minimum: 0.1, aggression: 0.5 }, 12, 0.1], [{ window_ns: 120e9, minimum: 0.1 }, -5, 0.1],
    [{ window_ns: 120e9, aggression: 0.5 }, 120, 1], [{ window_ns: 120e9, aggression: 0.5 }, 1e9, 1], [{ window_ns: 0 }, 0, 1], [{ window_ns: 120e9, aggression: -3 }, 30, 0.25],
  ];
  for (const [warmup, at, want] of table) assert.ok(Math.abs(shareAt(warmup, at) - want) < 1e-12, `${JSON.stringify(warmup)} at ${at}: ${shareAt(warmup, at)}, want ${want}`);
});

test('a moving mean keeps a level, a leap, and what is not known', () => {
  assert.deepEqual(smooth([0, 0, 0, 8, 8, 8, null, 8], 2), [0, 0, 0, 8, 8, 8, null, 8]);
  assert.deepEqual(smooth([9, 12, 9], 1), [10.5, 10, 10.5]);
  for (let seed = 0; seed < 100; seed++) {
    const random = drawn(seed);
    const values = Array.from({ length: 50 }, () => (random() < 0.1 ? null : below(random, 100)));
    const got = smooth(values, 3);
    values.forEach((v, i) => {
      assert.equal(got[i] === null, v === null);
      if (v !== null) assert.ok(got[i] <= Math.max(...values.map((w) => w ?? 0)) && (got[i] > 0) === (v > 0));
    });
  }
});

test('points are told by second, whatever is missing among them', () => {
  assert.deepEqual(column([point(1), point(3, { requests: 4 }), point(9)], zero, zero + 4, (p) => p.requests), [null, 10, null, 4, null]);
  assert.deepEqual(chapters([point(0), point(1), point(12), point(40)]).map((c) => c.length), [2, 1, 1]);
  assert.deepEqual(chapters([]), []);
});

test('one that still warms is shown until it should be warm; one that left long after has a start and a shutdown', () => {
  const [warming] = pictures(episode(-30, 12, { warm: undefined }));
  assert.equal(warming.title, 'Start');
  assert.deepEqual([warming.x[0], warming.x.at(-1)], [-30, 50]);
  const curve = warming.panels[1].traces.find((t) => t.label === 'time curve').values;
  assert.deepEqual([curve[29], curve[30], curve[50], curve[70]], [null, 0.1, 0.25, 1]);

  const lived = episode(-30, 100, { running: false, left: iso(500), ended: iso(504) });
  lived.points.push(...Array.from({ length: 60 }, (_, i) => point(470 + i)));
  assert.deepEqual(pictures(lived).map((p) => [p.title, p.x[0], p.x.at(-1)]), [['Start', -30, 100], ['Shutdown', -30, 29]]);
  const [both] = pictures(episode(-30, 80, { running: false, left: iso(60), ended: iso(62) }));
  assert.equal(both.title, 'Start and shutdown');
  assert.deepEqual(pictures(episode(0, 10, { points: undefined })), []);
});

test('marks stand in order, on the picture that they belong to, with their numbers in the list', () => {
  const marks = [[-5, 'instance.started'], [-1, 'warmup.requests.progress'], [0.2, 'warmup.started'], [40, 'warmup.ended'], [499.5, 'offline.requested'], [503, 'made.up.failed']].map(([t, kind]) => ({ at: iso(t), kind }));
  const lived = episode(-30, 100, { running: false, left: iso(500), ended: iso(504), marks });
  lived.points.push(...Array.from({ length: 60 }, (_, i) => point(470 + i)));
  const said = pictures(lived).map((p) => p.marks.map((m) => [m.number, m.label, m.tone]));
  assert.deepEqual(said, [
    [[1, 'started', 'start'], [3, 'warm-up started', 'warm'], [4, 'warm-up ended', 'ready']],
    [[5, 'offline', 'leave'], [6, 'made up failed', 'bad']],
  ]);
});

test('two that were offered at different times lie over each other from there', () => {
  const late = episode(-10, 20, { offered: iso(0.7) });
  const early = { ...episode(-10, 20), offered: iso(-3600), points: Array.from({ length: 21 }, (_, i) => point(-3600 + i, { requests: 40 })) };
  const p = overlay([{ name: 'late', colour: '--series-1', episode: late }, { name: 'early', colour: '--series-2', episode: early }], false);
  assert.deepEqual([p.x[0], p.x.at(-1)], [-10, 20]);
  const [a, b] = p.panels[0].traces.map((t) => t.values);
  assert.deepEqual([a[9], a[10], b[9], b[10]], [0, 10, null, 40]);
  const part = overlay([{ name: 'early', colour: '--series-2', episode: early }], true).panels[0].traces[0].values;
  assert.deepEqual(new Set(part), new Set([1]));
});

test('a moment is said with its events and every number that is known', () => {
  const [p] = pictures(episode(-30, 12, { warm: undefined, marks: [{ at: iso(3.4), kind: 'readiness.passed' }] }));
  const text = spoken(p, 33, (unit, v) => `${v.toFixed(1)} ${unit}`);
  assert.equal(text, '3 s, readiness passed, sent 10.0 rate, expected 10.0 rate, share 0.1 share, time curve 0.1 share');
  assert.match(spoken(p, 79, String), /^49 s, time curve/);
});

test('figures are of what is kept, and say nothing that is not known', () => {
  const f = figures(episode(-30, 12, { partial: true }));
  assert.deepEqual(f, { sent: 130, failed: 0, peak: 10 });
  assert.equal(figures(episode(0, 5)).ready, 6);
  assert.equal(figures(episode(0, 5)).warm, 40);
});
