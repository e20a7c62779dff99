// Numbers and times as people read them.

const whole = new Intl.NumberFormat('en-GB');

/** 1234567 → "1,234,567" */
export const count = (n: number): string => whole.format(Math.round(n));

/** A rate: three digits are enough to see what it is. 0.04 → "0.04", 12.34 → "12.3", 1234 → "1,234" */
export function rate(n: number): string {
  if (!Number.isFinite(n)) return '–';
  if (n === 0) return '0';
  if (n < 0.095) return n < 0.005 ? '<0.01' : n.toFixed(2);
  if (n < 99.95) return n.toFixed(1);
  return count(n);
}

/** 12345 → "12.3k", for places that have no room. */
export function short(n: number): string {
  if (n < 1000) return rate(n).replace(/\.0$/, '');
  for (const [size, unit] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']] as const) {
    if (n >= size) return (n / size).toFixed(n / size < 99.95 ? 1 : 0).replace(/\.0$/, '') + unit;
  }
  return count(n);
}

/** Milliseconds, in the unit that they are read in; 0 is no answer. */
export function ms(n: number | null | undefined): string {
  if (!n) return '–';
  if (n < 1) return `${n.toFixed(2)} ms`;
  if (n < 10) return `${n.toFixed(1)} ms`;
  if (n < 1000) return `${Math.round(n)} ms`;
  return `${(n / 1000).toFixed(n < 10_000 ? 2 : 1)} s`;
}

/** A part of one: 0.4567 → "45.7 %" */
export function percent(part: number, digits = part > 0 && part < 0.0995 ? 1 : 0): string {
  if (!Number.isFinite(part)) return '–';
  if (part > 0 && part < 0.0005) return '<0.1 %';
  if (part < 1 && part > 0.995) return `${(Math.floor(part * 1000) / 10).toFixed(1)} %`;
  return `${(part * 100).toFixed(digits)} %`;
}

/** Seconds: 75 → "1 m 15 s" */
export function seconds(n: number): string {
  if (n < 0 || !Number.isFinite(n)) return '–';
  if (n < 10) return `${n.toFixed(1).replace(/\.0$/, '')} s`;
  const s = Math.round(n);
  if (s < 60) return `${s} s`;
  const [m, h, d] = [Math.floor(s / 60), Math.floor(s / 3600), Math.floor(s / 86400)];
  if (m < 60) return s % 60 ? `${m} m ${s % 60} s` : `${m} m`;
  if (h < 24) return m % 60 ? `${h} h ${m % 60} m` : `${h} h`;
  return h % 24 ? `${d} d ${h % 24} h` : `${d} d`;
}

export const nanoseconds = (n: number): string => seconds(n / 1e9);

const clockFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** The time of day; with its date where that is not today. */
export function clock(t: string | number | Date | undefined): string {
  if (t === undefined || t === '') return '–';
  const date = new Date(t);
  if (Number.isNaN(date.getTime())) return '–';
  return date.toDateString() === new Date().toDateString() ? clockFormat.format(date) : dayFormat.format(date);
}

/** How long ago, as nearly as one asks: "just now", "12 s ago", "3 m ago", "3 h 5 m ago" */
export function ago(t: string | undefined, now = Date.now()): string {
  if (!t) return '–';
  const s = (now - Date.parse(t)) / 1000;
  return s < 2 ? 'just now' : `${seconds(s < 60 ? Math.round(s) : Math.floor(s / 60) * 60)} ago`;
}

/** n of something: (1, "endpoint") → "1 endpoint" */
export const some = (n: number, what: string, many = `${what}s`): string => `${count(n)} ${n === 1 ? what : many}`;
