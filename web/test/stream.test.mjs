import assert from 'node:assert/strict';
import { test } from 'node:test';
import { below, drawn, source } from './source.mjs';

const { Parser } = await source('stream.ts');

test('messages come out the same however the stream is cut', () => {
  const text = 'retry: 1000\n\n: here\n\nevent: whole\ndata: {"a":1}\n\nid: 1700000000\nevent: points\ndata: one\ndata: two\n\n'
    + 'event: patch\r\ndata:no space\r\n\r\ndata: last\n\nevent: nothing without data\n\ndata: of no kind\n\ndata: unfinished';
  const want = [
    { event: 'whole', id: '', data: '{"a":1}' },
    { event: 'points', id: '1700000000', data: 'one\ntwo' },
    { event: 'patch', id: '1700000000', data: 'no space' },
    { event: 'message', id: '1700000000', data: 'last' },
    { event: 'message', id: '1700000000', data: 'of no kind' },
  ];
  for (let seed = 0; seed < 300; seed++) {
    const random = drawn(seed);
    const got = [];
    const parser = new Parser((m) => got.push(m));
    for (let at = 0; at < text.length;) {
      const end = at + 1 + below(random, 1 + (seed % 40));
      parser.push(text.slice(at, end));
      at = end;
    }
    assert.deepEqual(got, want, `seed ${seed}`);
  }
});
