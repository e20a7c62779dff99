// One service: what it gets and gives over time, who its endpoints are, and by which configuration.

import { useMemo } from 'preact/hooks';
import type { By, Code, EndpointRow, PoolRow, Service } from '../api';
import { Acts } from '../acts/Acts';
import { clock, count, ms, percent, rate, seconds, short } from '../format';
import { newestFirst } from '../events/order';
import { totals } from '../releases/model';
import { place, useQuery } from '../router';
import { useTopic } from '../topics';
import { HeatMap } from '../ui/heat';
import { Table, type ColumnOf } from '../ui/table';
import { Badge, Card, Empty, Figures, Head, Loading, Notice, Segments, Share, StageBadge } from '../ui/parts';
import { Refused } from '../ui/dialog';
import { ServiceCharts } from './servicecharts';
import { beyond, ranges, useHeat, type Range } from './ranges';
import { VersionBar } from './versions';
import { Where } from './where';
import { lostShort, versionName } from './words';
import '../style/service.css';

const bys = [['version', 'Versions'], ['endpoint', 'Endpoints'], ['whole', 'Together']] as const;

export function ServiceView({ name }: { name: string }) {
  const { value: s, gone } = useTopic<Service>(`service:${name}`);
  const [range, setRange] = useQuery('range', '300');
  const [by, setBy] = useQuery('by', 'version');
  if (!s) return <><Head title={name} />{gone ? <Gone name={name} /> : <Loading what={name} />}</>;
  return (
    <>
      <Head
        title={<><a class="crumb" href="/">Services</a> <span class="faint" aria-hidden="true">/</span> {s.name}</>}
        beside={<><Badge>{s.namespace}</Badge><Badge>{s.protocol || 'http'}</Badge></>}
        sub={s.origin?.file && <>Declared in <Where of={s.origin} /></>}
      />
      {gone && <Notice tone="warn">{gone}</Notice>}
      {s.findings.length > 0 && <Notice tone="warn">{s.findings.length === 1 ? s.findings[0] : <ul>{s.findings.map((f) => <li key={f}>{f}</li>)}</ul>}</Notice>}
      <Totals of={s} />
      <div class="row between">
        <Segments label="Curves of" value={by as By} of={bys} choose={setBy} />
        <Segments label="Range" value={range as Range} of={ranges} choose={setRange} />
      </div>
      <ServiceCharts service={s.name} versions={s.versions} by={by as By} range={range as Range} />
      {!beyond(range as Range) && <LatencyCard service={s.name} range={range as Range} />}
      <Endpoints of={s} />
      <div class="columns">
        <Pools of={s.pools} />
        <EventsOf of={s} />
      </div>
    </>
  );
}

function Gone({ name }: { name: string }) {
  return <Empty title={`There is no service ${name}`}><a href="/">To all services</a></Empty>;
}

function Totals({ of: s }: { of: Service }) {
  const ended = s.requests;
  return (
    <Figures label={`What ${s.name} got`} of={[
      { name: 'Requests', value: <>{rate(s.rate.requests)} <small>per second</small></>, note: `${count(ended)} have ended${s.direct ? `, ${count(totals(s.direct).ended)} of them past the gateways` : ''}` },
      { name: 'Lost', value: count(s.lost), tone: s.lost > 0 ? 'bad' : undefined, note: s.lost > 0 ? `${percent(s.lost / Math.max(1, ended))}: ${lostShort(s.ended)}` : 'none since counting began' },
      { name: 'p50', value: ms(s.rate.p50_ms), note: 'over 10 s' },
      { name: 'p99', value: ms(s.rate.p99_ms), note: 'over 10 s' },
      { name: 'Sent again', value: count(s.retries), note: 'retries' },
      { name: 'Answers', value: <Codes of={s.codes} />, note: codesNote(s.codes) },
    ]} />
  );
}

const classes = [['2xx', 'good'], ['3xx', ''], ['4xx', ''], ['5xx', 'bad']] as const;

function byClass(codes: Code[]): number[] {
  const sums = [0, 0, 0, 0];
  for (const c of codes) {
    const i = Math.floor(c.status / 100) - 2;
    if (i >= 0 && i < 4) sums[i]! += c.n;
  }
  return sums;
}

function Codes({ of }: { of: Code[] }) {
  const sums = byClass(of);
  return <span class="codes">{classes.map(([name, tone], i) => (sums[i] ? <span key={name} class={tone}>{short(sums[i]!)} <small>{name}</small></span> : null))}{of.length === 0 && '–'}</span>;
}

function codesNote(codes: Code[]): string {
  return [...codes].sort((a, b) => b.n - a.n).slice(0, 4).map((c) => `${c.status}: ${count(c.n)}`).join(' · ') || 'no answer yet';
}

function LatencyCard({ service, range }: { service: string; range: Range }) {
  const { heat, refusal } = useHeat(service, range);
  return (
    <Card title="Latency, answer by answer">
      {refusal && !heat && <Refused refusal={refusal} />}
      {heat ? <HeatMap heat={heat} label={`Latency of ${service}`} /> : !refusal && <Loading what="the heat map" />}
    </Card>
  );
}

function Endpoints({ of: s }: { of: Service }) {
  const [words, setWords] = useQuery('q');
  const columns = useMemo(() => columnsOf(s.namespace), [s.namespace]);
  const rows = useMemo(() => {
    const wanted = words.trim().toLowerCase();
    return wanted ? s.endpoints.filter((e) => `${e.name} ${e.address} ${e.version} ${e.stage} ${e.id}`.toLowerCase().includes(wanted)) : s.endpoints;
  }, [s.endpoints, words]);
  return (
    <Card flush title="Endpoints" beside={<><span class="faint small">{count(rows.length)}</span><VersionBar of={s.versions} /></>}
      tools={s.endpoints.length > 8 && <input type="search" placeholder="Find an endpoint" aria-label="Find an endpoint" value={words} onInput={(e) => setWords(e.currentTarget.value)} />}>
      <Table label="Endpoints" rows={rows} columns={columns} id={(e) => e.id} order="name" empty={<Empty title={s.endpoints.length ? 'No endpoint is like that' : 'No endpoints'}>{s.endpoints.length === 0 && 'Requests to this service are answered 503 until an instance of it can serve.'}</Empty>} />
    </Card>
  );
}

const failing = (e: EndpointRow) => (e.requests > 0 ? e.failed / e.requests : 0);

function columnsOf(namespace: string): ColumnOf<EndpointRow>[] {
  return [
    {
      id: 'name', head: 'Endpoint', sort: (e) => e.name, class: 'clip',
      cell: (e) => <div class="two"><a class="name clip" href={place(['instances', e.id])}>{e.name}</a><small class="clip">{e.address}</small></div>,
    },
    { id: 'version', head: 'Version', wide: true, sort: (e) => e.version, cell: (e) => <div class="two"><span class={e.version ? 'clip' : 'zero'}>{versionName(e.version)}</span>{(e.front || e.foreign) && <small>{e.foreign ? 'registered itself' : 'behind a front'}</small>}</div> },
    { id: 'stage', head: 'Stage', sort: (e) => `${e.ejected ? 0 : 1}${e.stage}`, cell: (e) => <span class="row nowrap"><StageBadge stage={e.stage} ejected={e.ejected} />{e.paused && <Badge>paused</Badge>}</span> },
    { id: 'share', head: 'Share', sort: (e) => e.share, cell: (e) => <ShareOf e={e} /> },
    { id: 'rate', head: 'Requests/s', number: true, sort: (e) => e.requests, cell: (e) => <div class="two">{rate(e.requests)}<small>{rate(e.due)} due</small></div> },
    { id: 'failed', head: 'Failed', number: true, sort: failing, cell: (e) => (e.failed > 0 ? <span class="bad">{percent(failing(e))}</span> : <span class="zero">0</span>) },
    { id: 'p99', head: 'p99', number: true, wide: true, sort: (e) => e.p99_ms, cell: (e) => ms(e.p99_ms) },
    { id: 'active', head: 'Open', number: true, wide: true, sort: (e) => e.active, cell: (e) => count(e.active) },
    { id: 'age', head: 'Age', number: true, wide: true, sort: (e) => e.age_s, cell: (e) => seconds(e.age_s < 600 ? Math.round(e.age_s) : Math.floor(e.age_s / 60) * 60) },
    { id: 'why', head: 'Why its share is so', wide: true, class: 'why', cell: (e) => (e.stage === 'Serving' && e.share === 1 && !e.ejected ? null : <span class="quiet small" title={e.sentence}>{e.sentence || e.reason}</span>) },
    { id: 'acts', head: <span class="hidden">Acts</span>, class: 'acts', cell: (e) => <Acts of={{ kind: 'endpoint', namespace, name: e.name, stage: e.stage, share: e.share, paused: e.paused, factor: e.factor }} /> },
  ];
}

/** What an endpoint's share is, and of which weight where that is not the usual one. */
function ShareOf({ e }: { e: EndpointRow }) {
  const weight = e.weight * e.factor;
  return (
    <div class="two">
      <Share part={e.share} tone={e.stage === 'Warming' ? '--warming' : e.stage === 'Draining' ? '--draining' : '--serving'} />
      {weight !== 1 && <small class={e.factor !== 1 ? 'warn' : ''}>{`of weight ${short(weight)}${e.factor !== 1 ? ` (× ${e.factor})` : ''}`}</small>}
    </div>
  );
}

function Pools({ of }: { of: PoolRow[] }) {
  return (
    <Card title="Configuration in force">
      <ul class="list pools">
        {of.map((p) => (
          <li key={p.subset}>
            <div>
              <h3>{p.subset ? `Subset ${p.subset}` : 'All endpoints'} <Badge>{p.algorithm}</Badge></h3>
              <ul class="sentences">{p.sentences.map((text) => <li key={text}>{text}</li>)}</ul>
              <p class="small faint">{p.origin?.file ? <>{p.origin.kind} {p.origin.name}, <Where of={p.origin} /></> : 'No DestinationRule is for it: defaults apply.'}</p>
            </div>
          </li>
        ))}
      </ul>
    </Card>
  );
}

const most = 60;

function EventsOf({ of: s }: { of: Service }) {
  return (
    <Card title="Events" tools={<a class="small" href={place(['events'], { q: s.name })}>All</a>}>
      {s.events.length === 0 && <p class="quiet">Nothing has happened to it since counting began.</p>}
      <ol class="happened" tabIndex={0} aria-label="Events, the newest first">
        {newestFirst(s.events).slice(0, most).map((e, i) => (
          <li key={`${e.time}${e.kind}${e.endpoint}${i}`}>
            <time class="faint" dateTime={e.time}>{clock(e.time)}</time>
            <span><b>{e.kind}</b>{e.endpoint && <> · {e.incarnation ? <a href={place(['instances', e.incarnation])}>{e.endpoint}</a> : e.endpoint}</>}{e.reason && <span class="quiet">: {e.reason}</span>}{e.by && <span class="faint"> by {e.by}</span>}</span>
          </li>
        ))}
      </ol>
    </Card>
  );
}
