import assert from 'node:assert/strict';
import { test } from 'node:test';
import { source } from './source.mjs';

const { ms, percent, rate, seconds, short } = await source('format.ts');

test('numbers never say more or less than they are', () => {
  const table = [
    [rate(0), '0'], [rate(0.001), '<0.01'], [rate(0.05), '0.05'], [rate(12.34), '12.3'], [rate(99.96), '100'], [rate(1234.5), '1,235'], [rate(NaN), '–'],
    [short(999), '999'], [short(12345), '12.3k'], [short(1e6), '1M'],
    [ms(0), '–'], [ms(null), '–'], [ms(0.444), '0.44 ms'], [ms(9.96), '10.0 ms'], [ms(999.4), '999 ms'], [ms(1500), '1.50 s'],
    [percent(1), '100 %'], [percent(0.9999), '99.9 %'], [percent(0.0001), '<0.1 %'], [percent(0.026), '2.6 %'], [percent(0), '0 %'],
    [seconds(59.6), '1 m'], [seconds(75), '1 m 15 s'], [seconds(3725), '1 h 2 m'], [seconds(90000), '1 d 1 h'], [seconds(-1), '–'],
  ];
  for (const [got, want] of table) assert.equal(got, want);
});
