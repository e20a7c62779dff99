import type { Mark } from '../api';
import { clock } from '../format';
import { toneColour } from './draw';
import { markWords, signs } from './marks';

/** The events of an episode, in order. Pointing at one points at its line in the picture. */
export function MarkList({ marks, zero, hot, point }: { marks: readonly Mark[]; zero?: string; hot: number; point: (number: number) => void }) {
  if (marks.length === 0) return <p class="empty">Nothing has been told of it.</p>;
  return (
    <ol class="marks" onMouseLeave={() => point(0)}>
      {marks.map((m, i) => {
        const words = markWords(m.kind);
        return (
          <li key={`${m.at}${m.kind}${i}`} data-kind={m.kind} class={hot === i + 1 ? 'hot' : ''} onMouseEnter={() => point(i + 1)}>
            <span class="mark-sign" style={{ color: `var(${toneColour[words.tone]})` }} aria-hidden="true">{signs[words.tone]}</span>
            <time dateTime={m.at}>{clock(m.at)}</time>
            <span class="mark-since faint">{zero ? since(m.at, zero) : ''}</span>
            <span class="mark-what"><b>{words.label}</b>{' '}<span class="quiet">{m.text || words.means}</span></span>
          </li>
        );
      })}
    </ol>
  );
}

/** Seconds before or after a moment, to a tenth: events of one start lie close together. */
function since(at: string, zero: string): string {
  const s = (Date.parse(at) - Date.parse(zero)) / 1000;
  if (Math.abs(s) >= 600) return '';
  return `${s < 0 ? '−' : '+'}${Math.abs(s).toFixed(1)} s`;
}
