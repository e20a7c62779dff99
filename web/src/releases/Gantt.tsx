import type { EpisodeRow } from '../api';
import { seconds } from '../format';
import { offset } from '../instances/format';
import { place } from '../router';
import { lines, ticks, type Phase } from './lives';

const phases: readonly Phase[] = ['starting', 'warming', 'serving', 'draining'];

/** Everybody's life over the time of a release, above each other. The same is in the tables beneath it, for those who do not see it. */
export function Gantt({ episodes, came, from, to }: { episodes: readonly EpisodeRow[]; came: readonly string[]; from: number; to: number }) {
  const all = lines(episodes, came, from, to);
  const span = Math.max(1, to - from);
  const at = (t: number): string => `${((t - from) / span) * 100}%`;
  if (all.length === 0) return null;
  return (
    <div class="gantt">
      <ul class="gantt-key" aria-hidden="true">
        {phases.map((p) => <li key={p}><i class={`gantt-${p}`} />{p}</li>)}
      </ul>
      <div class="gantt-lines">
        <div class="gantt-grid" aria-hidden="true">
          {ticks(span).map((t) => <i key={t} style={{ left: `${(t / span) * 100}%` }}><span>{t === 0 ? '0' : offset(t)}</span></i>)}
        </div>
        <ul>
          {all.map((l) => (
            <li key={l.id} class={l.came ? 'came' : 'went'}>
              <a class="clip" href={place(['instances', l.id])} title={l.name}>
                <span class="gantt-way" aria-hidden="true">{l.came ? '+' : '−'}</span>{l.name}
                <span class="hidden">{`, which ${l.came ? 'came' : 'went'}: ${l.bars.map((b) => `${b.phase} for ${seconds(b.to - b.from)}`).join(', ')}${l.killed ? ', killed' : ''}`}</span>
              </a>
              <div class="gantt-bars" aria-hidden="true">
                {l.bars.map((b) => <i key={b.phase} class={`gantt-${b.phase}`} title={`${b.phase}, ${seconds(b.to - b.from)}`} style={{ left: at(b.from), width: `${((b.to - b.from) / span) * 100}%` }} />)}
                {l.killed && <b class="gantt-killed" style={{ left: at(l.bars[l.bars.length - 1]!.to) }}>✕</b>}
              </div>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}
