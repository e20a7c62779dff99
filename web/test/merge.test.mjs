import assert from 'node:assert/strict';
import { test } from 'node:test';
import { below, drawn, source } from './source.mjs';

const { appended, latest, merged } = await source('merge.ts');

test('an overview made of patches is the overview as it is', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = drawn(seed);
    let is = { snapshot: 0, services: [] };
    let value = merged('overview', 'whole', structuredClone(is), undefined);
    for (let step = 0; step < 30; step++) {
      const was = is;
      is = { snapshot: below(random, 3), services: [] };
      for (let i = 0; i < 12; i++) if (random() < 0.7) is.services.push({ name: `s${String(i).padStart(2, '0')}`, n: below(random, 3) });
      const before = value.services;
      value = merged('overview', 'patch', patchOf(was, is), value);
      assert.deepEqual(value, is, `seed ${seed}, step ${step}`);
      for (const row of value.services) {
        const old = before.find((r) => r.name === row.name);
        if (old && old.n === row.n) assert.equal(row, old, 'a row that did not change is the same object: nobody draws it again');
      }
    }
  }
});

function patchOf(was, is) {
  const before = new Map(was.services.map((r) => [r.name, r]));
  return {
    head: was.snapshot === is.snapshot ? undefined : { snapshot: is.snapshot },
    rows: is.services.filter((r) => before.get(r.name)?.n !== r.n).map((r) => ({ ...r })),
    gone: was.services.filter((r) => !is.services.some((s) => s.name === r.name)).map((r) => r.name),
  };
}

test('a patch before anything whole is nothing', () => {
  assert.equal(merged('overview', 'patch', { rows: [{ name: 'a' }] }, undefined), undefined);
});

test('a patch of the head alone leaves lists as they are', () => {
  const value = { id: 'x', stage: 'Warming' };
  assert.deepEqual(merged('episode:x', 'patch', { head: { stage: 'Serving' }, rows: [] }, value), { id: 'x', stage: 'Serving' });
});

test('releases that come stand first', () => {
  const value = { releases: [{ id: 'a', began: '2026-01-01T00:00:01.5Z' }] };
  const got = merged('releases', 'patch', { rows: [{ id: 'b', began: '2026-01-01T00:00:02+00:00' }] }, value);
  assert.deepEqual(got.releases.map((r) => r.id), ['b', 'a']);
});

const full = 900; // steps that are kept

test('curves made of any pieces, also of such that overlap or leave a gap, are the last quarter of an hour', () => {
  for (let seed = 0; seed < 150; seed++) {
    const random = drawn(seed);
    const start = 1_700_000_000;
    const known = new Map([['v1', new Map()], ['v2', new Map()]]);
    let curves;
    let end = start;
    for (let i = 0; i < 25; i++) {
      const from = Math.max(start, end - below(random, 6) + (random() < 0.2 ? below(random, 40) : 0));
      const size = 1 + below(random, i === 0 ? 1200 : 60);
      const piece = { from, step_s: 1, curves: [] };
      for (const [name, at] of known) {
        if (random() < 0.15) continue;
        const requests = Array.from({ length: size }, (_, k) => (random() < 0.05 ? null : from + k - start + (name === 'v1' ? 0 : 0.5)));
        requests.forEach((v, k) => at.set(from + k, v));
        piece.curves.push({ name, requests, share: requests.map(() => 1) });
      }
      if (piece.curves.length === 0) continue;
      curves = curves ? appended(curves, piece) : piece;
      end = Math.max(end, from + size);
    }
    const size = Math.max(...curves.curves.map((c) => c.requests.length));
    assert.equal(curves.from + size, end, `seed ${seed}`);
    assert.ok(size <= Math.max(full, 1200));
    for (const c of curves.curves) {
      c.requests.forEach((v, k) => assert.equal(v, known.get(c.name).get(curves.from + k) ?? null, `seed ${seed}, ${c.name} at ${k}`));
      assert.equal(c.share.length, c.requests.length);
    }
  }
});

test('a curve of which nothing is left is forgotten', () => {
  const old = { from: 0, step_s: 1, curves: [{ name: 'v1', requests: [1, 2] }, { name: 'v2', requests: [1, 2] }] };
  const got = appended(old, { from: 1000, step_s: 1, curves: [{ name: 'v2', requests: [3] }] });
  assert.deepEqual(got.curves.map((c) => c.name), ['v2']);
  assert.equal(got.curves[0].requests.length, full);
  assert.equal(got.curves[0].requests.at(-1), 3);
});

test('a stream that goes on behind the latest second leaves no gap', () => {
  const old = { from: 1000, step_s: 1, curves: [{ name: 'v1', requests: [1, 2, 3] }] };
  assert.equal(latest(old), 1002);
  assert.deepEqual(appended(old, { from: latest(old) + 1, step_s: 1, curves: [{ name: 'v1', requests: [4] }] }).curves[0].requests, [1, 2, 3, 4]);
});

test('after the clock was set back by an hour, curves are what they are now', () => {
  const old = { from: 10_000, step_s: 1, curves: [{ name: 'v1', requests: Array(full).fill(1) }] };
  const news = { from: 7_300, step_s: 1, curves: [{ name: 'v1', requests: [null, 2] }] };
  assert.deepEqual(merged('series:a:80:whole', 'points', news, old), news);
});
