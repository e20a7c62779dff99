import type { ReleaseRow } from '../api';
import { ago, clock, count, seconds } from '../format';
import { place, usePlace, useQuery } from '../router';
import { useTopic } from '../topics';
import { Card, Empty, Head, Loading, Segments, VerdictBadge } from '../ui/parts';
import { Table, type ColumnOf } from '../ui/table';
import { One } from './One';
import { Pair } from './Pair';
import './releases.css';

const none: ReleaseRow[] = [];
const verdicts = [['', 'All'], ['running', 'Running'], ['stalled', 'Stalled'], ['lossless', 'Lossless'], ['lossy', 'Lossy'], ['unproven', 'Unproven']] as const;

/** Releases: each that was recognised, with its verdict; and one of them, or two beside each other. */
export function ReleasesView() {
  const { parts, query } = usePlace();
  const { value } = useTopic<{ releases: ReleaseRow[] | null }>('releases');
  const rows = value ? (value.releases ?? none) : undefined;
  const id = parts[1];
  const other = query.get('with');
  if (id && other) return <Pair ids={[id, other]} />;
  if (id) return <One key={id} id={id} rows={rows ?? none} />;
  return (
    <>
      <Head title="Releases" sub="Every change of what runs, and whether it lost anything. Verdicts come from what the data planes have counted." />
      {rows ? <All rows={rows} /> : <Card><Loading what="releases" /></Card>}
    </>
  );
}

const columns: ColumnOf<ReleaseRow>[] = [
  { id: 'verdict', head: 'Verdict', cell: (r) => <VerdictBadge verdict={r.verdict} why={r.why} lost={r.lost} />, sort: (r) => r.verdict },
  {
    id: 'name', head: 'What', sort: (r) => r.name,
    cell: (r) => <span class="two"><a class="name" href={place(['releases', r.id])}>{r.name}</a><small>{`${r.kind} · ${r.what}`}</small></span>,
  },
  { id: 'why', head: 'Why', cell: (r) => <span class="release-why">{r.why}</span>, wide: true },
  { id: 'served', head: 'Served', number: true, cell: (r) => count(r.served), sort: (r) => r.served, wide: true },
  { id: 'lost', head: 'Lost', number: true, cell: (r) => <span class={r.lost > 0 ? 'bad' : 'zero'}>{count(r.lost)}</span>, sort: (r) => r.lost },
  { id: 'moved', head: 'Came / went', number: true, cell: (r) => `${r.came} / ${r.went}`, wide: true },
  { id: 'took', head: 'Took', number: true, cell: took, sort: (r) => (r.ended ? Date.parse(r.ended) : Date.now()) - Date.parse(r.began), wide: true },
  { id: 'began', head: 'Began', number: true, cell: (r) => <time dateTime={r.began} title={ago(r.began)}>{clock(r.began)}</time>, sort: (r) => Date.parse(r.began) },
];

/** How long a release took, or takes until now. */
export function took(r: { began: string; ended?: string }): string {
  const from = Date.parse(r.began);
  return r.ended ? seconds((Date.parse(r.ended) - from) / 1000) : `${seconds(Math.max(0, Math.round((Date.now() - from) / 1000)))}…`;
}

function All({ rows }: { rows: readonly ReleaseRow[] }) {
  const [verdict, setVerdict] = useQuery('verdict');
  const [search, setSearch] = useQuery('q');
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.filter((r) => (!verdict || r.verdict === verdict) && words.every((w) => `${r.name} ${r.namespace} ${r.what} ${r.kind} ${r.why}`.toLowerCase().includes(w)));
  return (
    <Card
      title={rows.length === 1 ? '1 release' : `${rows.length} releases`} flush
      tools={<>
        <input type="search" aria-label="Search releases" placeholder="Search" value={search} onInput={(e) => setSearch(e.currentTarget.value)} />
        <Segments label="Verdict" value={verdict as (typeof verdicts)[number][0]} of={verdicts} choose={setVerdict} />
      </>}
    >
      <Table
        label="Releases" rows={found} columns={columns} id={(r) => r.id}
        empty={rows.length > 0 ? <Empty title="No release fits">Change the search or the filter.</Empty> : (
          <Empty title="No release yet">Scale or roll something, with <code>crossfade scale</code> or from the overview: it is recognised by itself.</Empty>
        )}
      />
    </Card>
  );
}
