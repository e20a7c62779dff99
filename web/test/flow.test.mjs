import assert from 'node:assert/strict';
import { test } from 'node:test';
import { below, drawn, source } from './source.mjs';

const { flowOf } = await source('views/flow.ts');

const still = { starting: 0, warming: 0, serving: 1, draining: 0, ejected: 0 };
const service = (name, requests, versions, stages = still) => ({ name: `${name}:80`, host: name, requests, stages, rate: { requests }, versions: versions.map(([v, fraction]) => ({ name: v, fraction, endpoints: 1 })) });
const gateways = [{ id: 'gw-1', group: 'gw', stage: 'serving', rate: { requests: 10 } }];
const nobody = () => false;

test('bookinfo stands in four columns, and what flows to a service is split among its versions', () => {
  const services = [service('details', 10, [['v1', 1]]), service('productpage', 10, [['v1', 1]]), service('ratings', 3, [['v1', 1]]), service('reviews', 10, [['v1', 0.7], ['v2', 0.3]])];
  const edges = [
    { from: '', to: 'productpage:80', requests: 10, total: 1000 }, { from: 'productpage-v1', to: 'details:80', requests: 10, total: 1000 },
    { from: 'productpage-v1', to: 'reviews:80', requests: 10, total: 1000 }, { from: 'reviews-v2', to: 'ratings:80', requests: 3, total: 1000 },
    { from: '', to: 'reviews:80', requests: 0, total: 20 }, // somebody tried it, once
  ];
  const flow = flowOf(services, edges, gateways, 6, nobody, 1000);
  assert.deepEqual(Object.fromEntries(flow.boxes.map((b) => [b.name, b.column])), { gw: 0, productpage: 1, details: 2, reviews: 2, ratings: 3 });
  const split = flow.bands.filter((b) => b.to.name === 'reviews').map((b) => [b.version, b.rate]);
  assert.deepEqual(split, [[0, 7], [1, 3]]);
});

test('whoever calls whom, in circles too: every service is told once, nothing flows that was not called, boxes do not overlap', () => {
  for (let seed = 0; seed < 120; seed++) {
    const random = drawn(seed);
    const n = 1 + below(random, seed % 3 ? 20 : 120);
    const services = Array.from({ length: n }, (_, i) => service(`s${i}`, below(random, 1000), random() < 0.3 ? [['v1', 0.5], ['v2', 0.5]] : [['v1', 1]], random() < 0.1 ? { ...still, warming: 1 } : still));
    const edges = Array.from({ length: below(random, 3 * n) }, () => ({ from: random() < 0.3 ? '' : `s${below(random, n)}-v1`, to: `s${below(random, n)}:80`, requests: below(random, 50), total: below(random, 1000) }));
    const most = 1 + below(random, 6);
    const flow = flowOf(services, edges, gateways, most, nobody, 1200);
    const told = flow.boxes.flatMap((b) => b.others?.map((s) => s.name) ?? (b.service ? [b.service.name] : []));
    assert.deepEqual(told.sort(), services.map((s) => s.name).sort(), `seed ${seed}`);
    const called = edges.reduce((sum, e) => sum + e.requests, 0);
    const flows = flow.bands.reduce((sum, b) => sum + b.rate, 0);
    assert.ok(flows <= called + 1e-6, `seed ${seed}: ${flows} flow of ${called}`);
    for (const n of new Set(flow.boxes.map((b) => b.column))) {
      const column = flow.boxes.filter((b) => b.column === n);
      assert.ok(column.filter((b) => b.service).length <= most + 1, `seed ${seed}`);
      column.sort((a, b) => a.y - b.y);
      for (let i = 1; i < column.length; i++) assert.ok(column[i].y >= column[i - 1].y + column[i - 1].height, `seed ${seed}: ${column[i].id} lies over ${column[i - 1].id}`);
    }
    for (const b of flow.bands) for (const y of [b.y0, b.y1, b.width]) assert.ok(Number.isFinite(y), `seed ${seed}: ${b.id}`);
  }
});

test('who moves stands alone before who is busy', () => {
  const services = Array.from({ length: 30 }, (_, i) => service(`s${i}`, 1000 - i, [['v1', 1]], i === 29 ? { ...still, draining: 1 } : still));
  const flow = flowOf(services, [], [], 4, nobody, 1000);
  assert.ok(flow.boxes.some((b) => b.name === 's29'));
  assert.ok(flowOf(services, [], [], 4, (s) => s.host === 's17', 1000).boxes.some((b) => b.name === 's17'), 'and who is looked for');
});

test('services of one host are told apart by their ports', () => {
  const flow = flowOf([{ ...service('a', 1, []), name: 'a:80' }, { ...service('a', 1, []), name: 'a:81' }, service('b', 1, [])], [], [], 6, nobody, 1000);
  assert.deepEqual(flow.boxes.map((b) => b.name).sort(), ['a:80', 'a:81', 'b']);
});

test('callers past the gateways have a box of their own, only where there are any', () => {
  const services = [service('a', 10, [['v1', 1]]), service('b', 4, [['v1', 1]])];
  const edges = [{ from: '', to: 'a:80', requests: 10, total: 100 }, { from: '(direct)', to: 'b:80', requests: 4, total: 40 }];
  const flow = flowOf(services, edges, gateways, 6, nobody, 1000);
  assert.deepEqual(Object.fromEntries(flow.boxes.map((b) => [b.name, b.column])), { gw: 0, direct: 0, a: 1, b: 1 });
  assert.deepEqual(flow.bands.map((b) => [b.from.name, b.to.name, b.rate]).sort(), [['direct', 'b', 4], ['gw', 'a', 10]]);
  assert.ok(!flowOf(services, edges.slice(0, 1), gateways, 6, nobody, 1000).boxes.some((b) => b.name === 'direct'));
});
