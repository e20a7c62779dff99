import assert from 'node:assert/strict';
import { test } from 'node:test';
import { below, drawn, source } from './source.mjs';

const { place } = await source('instances/labels.ts');

test('labels of one moment read downwards in their order, and one at the right edge stands left of its line', () => {
  const got = place([{ x: 10, width: 50 }, { x: 10, width: 50 }, { x: 12, width: 50 }, { x: 195, width: 50 }], 200, 9);
  assert.deepEqual(got, [{ left: 10, lane: 2 }, { left: 10, lane: 1 }, { left: 12, lane: 0 }, { left: 145, lane: 0 }]);
});

test('whatever the labels: none touches another, none stands outside, none is crossed by a line from one right of it, and none is missing where there is room', () => {
  for (let seed = 0; seed < 500; seed++) {
    const random = drawn(seed);
    const width = 100 + below(random, 900);
    const lanes = 1 + below(random, 9);
    const labels = Array.from({ length: below(random, 15) }, () => ({ x: below(random, width), width: 20 + below(random, 140) })).sort((a, b) => a.x - b.x);
    const got = place(labels, width, lanes, 8);
    assert.equal(got.length, labels.length);
    got.forEach((a, i) => {
      if (!a) return;
      const right = a.left + labels[i].width;
      assert.ok(a.left >= 0 && right <= width && a.lane < lanes && (a.left === labels[i].x || right === labels[i].x), `seed ${seed}: ${i} stands nowhere near its line`);
      got.forEach((b, j) => {
        if (!b || j <= i) return;
        if (b.left < right + 8 && a.left < b.left + labels[j].width + 8) assert.ok(a.lane > b.lane, `seed ${seed}: ${j} is not below ${i}`);
        const crossed = a.left === labels[i].x && labels[j].x > a.left && labels[j].x < right && b.lane >= a.lane && b.left === labels[j].x;
        assert.ok(!crossed, `seed ${seed}: the line of ${j} crosses the label of ${i}`);
      });
    });
    if (lanes >= labels.length) {
      const fits = labels.filter((l) => l.x + l.width <= width || l.x - l.width >= 0).length;
      assert.equal(got.filter(Boolean).length, fits, `seed ${seed}: a label that had room is missing`);
    }
  }
});
