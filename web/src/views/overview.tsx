// Everything at a glance: what comes in, what is lost, what moves, and every service.

import { useMemo } from 'preact/hooks';
import type { EndpointRow, GatewayRow, ListenerRow, Overview as Whole, ReleaseRow, ServiceRow, WorkloadRow } from '../api';
import { Acts } from '../acts/Acts';
import { ago, clock, count, ms, percent, rate, seconds } from '../format';
import { totals } from '../releases/model';
import { place, useQuery } from '../router';
import { useTopic } from '../topics';
import { Spark } from '../ui/spark';
import { Table, type ColumnOf } from '../ui/table';
import { Badge, Card, Empty, Figures, Head, Loading, Notice, Segments, StageBadge, VerdictBadge, type Tone } from '../ui/parts';
import { lostShort, reasonShort, stageWords } from './words';
import { VersionBar } from './versions';
import '../style/overview.css';

const many = 20; // services, below which the workloads are not in sight

export function Overview() {
  const { value: o } = useTopic<Whole>('overview');
  if (!o) return <><Head title="Overview" /><Loading what="the overview" /></>;
  return (
    <>
      <Head title="Overview" sub={<>Counting since {clock(o.since)} · snapshot {count(o.snapshot)} · configuration <code>{o.config.slice(0, 12)}</code></>}>
        {o.services.length > many && <a class="button small" href="#workloads">To the workloads</a>}
      </Head>
      {o.rejected && <Notice tone="bad">The newest configuration is not in force: {o.rejected}</Notice>}
      <Outside of={o} />
      <div class="strip">
        <Motion services={o.services} />
        <Releases of={o.releases} />
        <Gateways rows={o.gateways} />
      </div>
      <Services services={o.services} />
      <Listeners rows={o.outside.listeners ?? []} />
      <div id="workloads"><Workloads rows={o.workloads} /></div>
    </>
  );
}

function Outside({ of: { outside } }: { of: Whole }) {
  const lost: Tone | undefined = outside.rate.lost > 0 || outside.lost > 0 ? 'bad' : undefined;
  return (
    <Figures label="What comes in from outside" of={[
      { name: 'Requests from outside', value: <>{rate(outside.rate.requests)} <small>per second</small></>, note: `${count(outside.requests)} in all` },
      { name: 'Lost', value: count(outside.lost), tone: lost, note: outside.lost > 0 ? <LostNote rate={outside.rate.lost} what={lostShort(outside.ended)} /> : 'none since counting began' },
      { name: 'Latency, p50', value: ms(outside.rate.p50_ms), note: 'over the last 10 s' },
      { name: 'Latency, p99', value: ms(outside.rate.p99_ms), note: 'over the last 10 s' },
      { name: 'Open now', value: count(outside.active), note: outside.rejected > 0 ? `${count(outside.rejected)} connections refused at a limit` : 'none refused at a limit' },
    ]} />
  );
}

/** Of losses: whether it goes on, before what they were. */
function LostNote(p: { rate: number; what: string }) {
  return <>{p.rate > 0 ? <b class="bad">{rate(p.rate)} per second now</b> : 'none in the last 10 s'}<br />{p.what}</>;
}

const filters = [['all', 'All'], ['moving', 'Moving'], ['lossy', 'Lossy']] as const;
type Filter = (typeof filters)[number][0];

const moves = (s: ServiceRow) => s.stages.starting + s.stages.warming + s.stages.draining + s.stages.ejected > 0;

function Services({ services }: { services: ServiceRow[] }) {
  const [words, setWords] = useQuery('q');
  const [filter, setFilter] = useQuery('show', 'all');
  const rows = useMemo(() => {
    const wanted = words.trim().toLowerCase();
    return services.filter((s) => (!wanted || s.name.toLowerCase().includes(wanted) || s.namespace.toLowerCase().includes(wanted))
      && (filter !== 'moving' || moves(s)) && (filter !== 'lossy' || s.lost > 0));
  }, [services, words, filter]);
  const tools = (
    <>
      <input type="search" placeholder="Find a service" aria-label="Find a service" value={words} onInput={(e) => setWords(e.currentTarget.value)} />
      <Segments<Filter> label="Which services" value={filter as Filter} of={filters} choose={setFilter} />
    </>
  );
  return (
    <Card flush title="Services" beside={<span class="faint small" role="status">{rows.length === services.length ? count(rows.length) : `${rows.length} of ${services.length}`}</span>} tools={tools}>
      <Table label="Services" rows={rows} columns={columns} id={(s) => s.name} order="name" empty={<NoServices any={services.length > 0} />} />
    </Card>
  );
}

function NoServices({ any }: { any: boolean }) {
  if (any) return <Empty title="No service is like that">Take other words, or show all.</Empty>;
  return <Empty title="No services yet">They appear as soon as configuration names them: <code>crossfade up -f DIRECTORY</code></Empty>;
}

const columns: ColumnOf<ServiceRow>[] = [
  {
    id: 'name', head: 'Service', sort: (s) => s.name, class: 'clip',
    cell: (s) => <div class="two"><a class="name clip" href={place(['services', s.name])}>{s.name}</a><small class="clip">{s.namespace} · {s.protocol || 'http'}</small></div>,
  },
  { id: 'spark', head: 'Last minute', wide: true, cell: (s) => <Spark values={s.spark} label={`Requests per second to ${s.name} in the last minute`} /> },
  { id: 'rate', head: 'Requests/s', number: true, sort: (s) => s.rate.requests, cell: (s) => <span class={s.rate.requests ? '' : 'zero'}>{rate(s.rate.requests)}</span> },
  { id: 'lost', head: 'Lost', number: true, sort: (s) => s.lost, cell: (s) => <Lost of={s} /> },
  { id: 'p50', head: 'p50', number: true, wide: true, sort: (s) => s.rate.p50_ms, cell: (s) => ms(s.rate.p50_ms) },
  { id: 'p99', head: 'p99', number: true, wide: true, sort: (s) => s.rate.p99_ms, cell: (s) => ms(s.rate.p99_ms) },
  { id: 'versions', head: 'Versions', wide: true, sort: (s) => s.versions.length, cell: (s) => <VersionBar of={s.versions} /> },
  { id: 'stages', head: 'Endpoints', sort: (s) => s.stages.serving + s.stages.warming, cell: (s) => <StagesOf of={s} /> },
];

function Lost({ of: s }: { of: ServiceRow }) {
  if (s.lost === 0) return <span class="zero">0</span>;
  return <span class="bad" title={lostShort(s.ended)}>{count(s.lost)}{s.rate.lost > 0 && <small>{` (${rate(s.rate.lost)}/s)`}</small>}</span>;
}

function StagesOf({ of: { stages } }: { of: ServiceRow }) {
  const none = stages.serving + stages.warming === 0;
  return (
    <span class="row stages">
      {none && <Badge tone="bad">Nobody serves</Badge>}
      {stages.serving > 0 && <span class="nowrap">{stageWords('serving', stages.serving)}</span>}
      {stages.starting > 0 && <Badge>{stageWords('starting', stages.starting)}</Badge>}
      {stages.warming > 0 && <Badge tone="warn">{stageWords('warming', stages.warming)}</Badge>}
      {stages.draining > 0 && <Badge tone="away">{stageWords('draining', stages.draining)}</Badge>}
      {stages.ejected > 0 && <Badge tone="bad">{stageWords('ejected', stages.ejected)}</Badge>}
    </span>
  );
}

const few = 4; // lines of a card in the strip: the table below it is not to jump

function More({ than, of, to }: { than: number; of: number; to?: string }) {
  if (of <= than) return null;
  const text = `and ${count(of - than)} more`;
  return <p class="small faint more">{to ? <a href={to}>{text}</a> : text}</p>;
}

function Releases({ of }: { of: ReleaseRow[] }) {
  return (
    <Card title="Releases" tools={<a class="small" href="/releases">All</a>}>
      {of.length === 0 && <p class="quiet">None since counting began. Scaling or rolling out a workload is one.</p>}
      <ul class="list">
        {of.slice(0, few).map((r) => (
          <li key={r.id}>
            <VerdictBadge verdict={r.verdict} why={r.why} lost={r.lost} />
            <div class="two">
              <a class="clip" href={place(['releases', r.id])}>{r.name}</a>
              <small class="faint clip" title={`${count(r.served)} served`}>{r.lost > 0 && <><b class="bad">{count(r.lost)} lost</b> · </>}{r.what} · {r.ended ? ago(r.ended) : ago(r.began).replace(' ago', '')}</small>
            </div>
          </li>
        ))}
      </ul>
    </Card>
  );
}

const order = (e: EndpointRow) => (e.ejected ? 0 : e.stage === 'Draining' ? 1 : e.stage === 'Warming' ? 2 : 3);

/** Why somebody who warms up has another share than by their warm-up. */
const why = (e: EndpointRow): string | undefined => (e.stage === 'Warming' ? reasonShort(e.reason) : undefined);

/** Who is not simply serving: one line each, or one for each service where endpoints are too many to be told. */
function Motion({ services }: { services: ServiceRow[] }) {
  const moving = services.filter(moves);
  const told = moving.flatMap((s) => (s.endpoints ?? []).filter((e) => e.ejected || e.stage !== 'Serving').map((e) => ({ s, e }))).sort((a, b) => order(a.e) - order(b.e));
  const untold = moving.filter((s) => !s.endpoints);
  const rows = told.slice(0, few);
  return (
    <Card title="Moving now" beside={moving.length > 0 && <span class="faint small">{count(told.length + untold.length)}</span>}>
      {moving.length === 0 && <p class="quiet">Everybody serves: nobody starts, warms up, drains or is ejected.</p>}
      <ul class="list">
        {rows.map(({ s, e }) => (
          <li key={s.name + e.id} title={e.sentence}>
            <StageBadge stage={e.stage} ejected={e.ejected} />
            <div class="two">
              <a class="clip" href={place(['instances', e.id])}>{e.name}</a>
              <small class={why(e) ? 'quiet' : 'faint clip'}>{s.host}, {why(e) ?? `${seconds(Math.round(e.age_s))} old`}</small>
              {e.stage === 'Warming' && <i class="progress" style={{ width: `${e.share * 100}%` }} />}
            </div>
            {e.stage === 'Warming' && <span class="nowrap">{percent(e.share, 0)}</span>}
            {e.stage === 'Draining' && <span class="small quiet nowrap">{count(e.active)} open</span>}
          </li>
        ))}
        {untold.slice(0, few - rows.length).map((s) => (
          <li key={s.name}><a class="clip two" href={place(['services', s.name])}>{s.name}</a><StagesOf of={s} /></li>
        ))}
      </ul>
      <More than={few} of={told.length + untold.length} to="/?show=moving" />
    </Card>
  );
}

const gatewayTones: Record<GatewayRow['stage'], Tone> = { starting: 'quiet', serving: 'good', draining: 'away', drained: 'away', gone: 'quiet' };

function Gateways({ rows }: { rows: GatewayRow[] }) {
  return (
    <Card title="Gateways">
      {rows.length === 0 && <Notice tone="warn">No gateway reports: nothing that comes in is seen.</Notice>}
      <ul class="list">
        {rows.slice(0, few).map((g) => (
          <li key={g.id}>
            <Badge tone={gatewayTones[g.stage]}>{g.stage[0]!.toUpperCase() + g.stage.slice(1)}</Badge>
            <div class="two">
              <span class="clip">{g.id}</span>
              <small class="faint clip" title={g.leave}>{g.leave || `${rate(g.rate.requests)}/s · ${g.stage === 'serving' ? `p99 ${ms(g.rate.p99_ms)}` : `${count(g.active)} open`}`}</small>
            </div>
            <Acts of={{ kind: 'gateway', namespace: g.namespace, name: g.id, stage: g.stage }} />
          </li>
        ))}
      </ul>
      <More than={few} of={rows.length} to="/topology" />
    </Card>
  );
}

/** What came in by each port, where there is more than one; of what services say to each other, the services tell. */
function Listeners({ rows }: { rows: ListenerRow[] }) {
  const ports = rows.filter((l) => !l.mesh);
  if (ports.length < 2) return null;
  return (
    <Card flush title="Ports of the gateways" beside={<span class="faint small">{count(ports.length)}</span>}>
      <Table label="Ports of the gateways" rows={ports} columns={listenerColumns} id={(l) => l.name} order="name" />
    </Card>
  );
}

const listenerColumns: ColumnOf<ListenerRow>[] = [
  { id: 'name', head: 'Port', sort: (l) => l.name, class: 'clip', cell: (l) => <b class="name">{l.name}</b> },
  { id: 'requests', head: 'Requests in all', number: true, sort: (l) => l.requests, cell: (l) => count(l.requests) },
  { id: 'active', head: 'Open now', number: true, sort: (l) => l.active, cell: (l) => count(l.active) },
  { id: 'lost', head: 'Lost', number: true, sort: (l) => totals(l.ended).lost, cell: (l) => <span class={totals(l.ended).lost > 0 ? 'bad' : 'zero'} title={lostShort(l.ended)}>{count(totals(l.ended).lost)}</span> },
];

function Workloads({ rows }: { rows: WorkloadRow[] }) {
  if (rows.length === 0) return null;
  return (
    <Card flush title="Workloads" beside={<span class="faint small">{count(rows.length)}</span>}>
      <Table label="Workloads" rows={rows} columns={workloadColumns} id={(w) => `${w.kind}/${w.namespace}/${w.name}`} order="name" />
    </Card>
  );
}

const workloadColumns: ColumnOf<WorkloadRow>[] = [
  { id: 'name', head: 'Workload', sort: (w) => w.name, class: 'clip', cell: (w) => <div class="two"><b class="name clip">{w.name}</b><small>{w.namespace}</small></div> },
  { id: 'kind', head: 'Kind', wide: true, sort: (w) => w.kind, cell: (w) => (w.kind === 'gateway' ? 'Gateway' : 'Deployment') },
  { id: 'ready', head: 'Ready', sort: (w) => w.ready - w.replicas, cell: (w) => <span class={w.ready < w.replicas ? 'warn' : ''}>{w.ready} of {w.replicas}</span> },
  { id: 'updated', head: 'Revision', wide: true, sort: (w) => w.updated - w.total, cell: (w) => (w.updated < w.total ? <Badge tone="accent">{w.updated} of {w.total} are new</Badge> : <span class="quiet">{w.total === 0 ? 'none runs' : w.total === 1 ? 'newest' : 'all newest'}</span>) },
  { id: 'acts', head: <span class="hidden">Acts</span>, class: 'end', cell: (w) => <Acts of={{ kind: w.kind, namespace: w.namespace, name: w.name, replicas: w.replicas }} /> },
];
