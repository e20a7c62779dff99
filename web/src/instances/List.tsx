import { memo } from 'preact/compat';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { EpisodeRow, Stage } from '../api';
import { clock, some } from '../format';
import { place, useQuery } from '../router';
import { Empty, Segments } from '../ui/parts';

const rowHeight = 56;
const states = [['all', 'All'], ['running', 'Running'], ['gone', 'Gone']] as const;
type State = (typeof states)[number][0];

/** Everybody who is known: searched, filtered, the newest first. Only rows in sight are made. */
export function List({ rows, chosen, other }: { rows: readonly EpisodeRow[]; chosen?: string; other?: string }) {
  const [state, setState] = useQuery('state', 'all');
  const [search, setSearch] = useQuery('q');
  const [workload, setWorkload] = useQuery('workload');
  const workloads = useMemo(() => [...new Set(rows.map((r) => r.workload ?? '').filter(Boolean))].sort(), [rows]);
  const found = useMemo(() => filtered(rows, state as State, search, workload), [rows, state, search, workload]);
  const scroller = useRef<HTMLDivElement>(null);
  const [from, to] = useSlice(scroller, found.length);
  const filters = { state: state === 'all' ? undefined : state, q: search, workload };
  return (
    <section class="card instances-list" aria-label="Instances">
      <div class="instances-filters">
        <input type="search" aria-label="Search instances" placeholder="Name, service, version, address…" value={search} onInput={(e) => setSearch(e.currentTarget.value)} />
        <div class="row">
          <Segments label="Which instances" value={state as State} of={states} choose={setState} />
          {workloads.length > 1 && (
            <select aria-label="Workload" value={workload} onChange={(e) => setWorkload(e.currentTarget.value)}>
              <option value="">All workloads</option>
              {workloads.map((w) => <option key={w} value={w}>{w}</option>)}
            </select>
          )}
        </div>
        <p class="faint small" role="status">{found.length === rows.length ? some(rows.length, 'instance') : `${found.length} of ${some(rows.length, 'instance')}`}</p>
      </div>
      <div class="instances-rows" ref={scroller} onKeyDown={walk}>
        {found.length === 0 && <Empty title="Nobody fits">Change the search or the filter.</Empty>}
        <ul style={{ paddingTop: `${from * rowHeight}px`, paddingBottom: `${(found.length - to) * rowHeight}px` }}>
          {found.slice(from, to).map((r) => (
            <Row
              key={r.id} row={r} here={r.id === chosen} beside={r.id === other}
              to={place(['instances', r.id], filters)}
              compare={chosen && r.id !== chosen ? place(['instances', chosen], { ...filters, with: r.id === other ? undefined : r.id }) : undefined}
            />
          ))}
        </ul>
      </div>
    </section>
  );
}

const Row = memo(function Row({ row, here, beside, to, compare }: { row: EpisodeRow; here: boolean; beside: boolean; to: string; compare?: string }) {
  const sub = [row.version, row.workload && !row.name.startsWith(row.workload) ? row.workload : '', row.running ? `since ${clock(row.began)}` : `ended ${clock(row.ended)}`];
  return (
    <li class={here ? 'here' : beside ? 'beside' : ''} data-instance={row.name}>
      <a href={to} aria-current={here ? 'page' : undefined}>
        <span class="dot" style={{ color: `var(${stageColour(row)})` }} />
        <span class="who">
          <b class="clip">{row.name}</b>
          <small class="clip">{sub.filter(Boolean).join(' · ')}</small>
        </span>
        <span class="how">{saying(row)}</span>
      </a>
      {compare && (
        <a class="button small plain compare" href={compare} aria-label={beside ? `Stop comparing with ${row.name}` : `Compare with ${row.name}`} title={beside ? 'Stop comparing' : 'Compare'}>
          {beside ? '×' : '⇄'}
        </a>
      )}
    </li>
  );
});

/** The colour of where an instance is in its life. */
export function stageColour(row: { stage: Stage; killed?: boolean }): string {
  return row.killed ? '--ejected' : `--${row.stage.toLowerCase()}`;
}

function saying(row: EpisodeRow): string {
  if (row.killed) return 'killed';
  if (row.stage === 'Warming') return `${Math.floor(row.share * 100)} %`;
  return row.stage.toLowerCase();
}

function filtered(rows: readonly EpisodeRow[], state: State, search: string, workload: string): EpisodeRow[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((r) => {
    if (state !== 'all' && r.running !== (state === 'running')) return false;
    if (workload && r.workload !== workload) return false;
    if (words.length === 0) return true;
    const text = [r.name, r.id, r.namespace, r.workload, r.version, r.stage, ...(r.services ?? [])].join(' ').toLowerCase();
    return words.every((w) => text.includes(w));
  });
}

/** Arrow keys walk through the list. */
function walk(e: KeyboardEvent & { currentTarget: HTMLElement }): void {
  const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];
  if (!by) return;
  const links = [...e.currentTarget.querySelectorAll<HTMLElement>('li > a:first-child')];
  const at = links.findIndex((l) => l.parentElement!.contains(document.activeElement));
  const next = links[at + by];
  if (at < 0 || !next) return;
  e.preventDefault();
  next.focus();
}

/** Which rows of a list that scrolls by itself are in sight, with some around them. */
function useSlice(scroller: { current: HTMLElement | null }, rows: number): [number, number] {
  const [top, set] = useState(0);
  useEffect(() => {
    const el = scroller.current;
    if (!el) return;
    const look = () => set(Math.floor(el.scrollTop / rowHeight / 10) * 10);
    el.addEventListener('scroll', look, { passive: true });
    return () => el.removeEventListener('scroll', look);
  }, []);
  const from = Math.max(0, Math.min(top - 10, rows - 1));
  return [from, Math.min(rows, top + 50)];
}
