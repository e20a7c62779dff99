/** A line of a unified diff, with its numbers before and after; 0 where it is on one side only. */
export interface DiffLine {
  kind: 'same' | 'gone' | 'new' | 'place';
  before: number;
  after: number;
  text: string;
}

/** Reads a unified diff. Its two lines of names are left out: who shows it says which file it is. */
export function readDiff(text: string): DiffLine[] {
  const out: DiffLine[] = [];
  let before = 0;
  let after = 0;
  let inside = false;
  const lines = text.split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  for (const line of lines) {
    const place = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (place) {
      before = Number(place[1]);
      after = Number(place[3]);
      inside = true;
      out.push({ kind: 'place', before, after, text: line });
    } else if (!inside) {
      continue;
    } else if (line.startsWith('+')) {
      out.push({ kind: 'new', before: 0, after: after++, text: line.slice(1) });
    } else if (line.startsWith('-')) {
      out.push({ kind: 'gone', before: before++, after: 0, text: line.slice(1) });
    } else if (line.startsWith('\\')) {
      continue;
    } else {
      out.push({ kind: 'same', before: before++, after: after++, text: line.slice(1) });
    }
  }
  return out;
}

/** How many lines came and went, in words. */
export function sumDiff(lines: readonly DiffLine[]): string {
  const came = lines.filter((l) => l.kind === 'new').length;
  const went = lines.filter((l) => l.kind === 'gone').length;
  if (came + went === 0) return 'no change';
  const word = (n: number, what: string) => (n === 0 ? '' : `${n} ${n === 1 ? 'line' : 'lines'} ${what}`);
  return [word(came, 'added'), word(went, 'removed')].filter(Boolean).join(', ');
}
