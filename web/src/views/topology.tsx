// Who calls whom, now: from the gateways through services to their versions. What flows is as wide as it is much; a rollout is a band
// that moves from one version to another.

import { useMemo, useRef, useState } from 'preact/hooks';
import type { EndpointRow, GatewayRow, Overview, ServiceRow } from '../api';
import { count, ms, percent, rate, some } from '../format';
import { place, useQuery } from '../router';
import { useTopic } from '../topics';
import { useWidth } from '../ui/size';
import { series } from '../ui/theme';
import { Card, Empty, Head, Loading, VerdictBadge, goesOn } from '../ui/parts';
import { direct, flowOf, type Band, type Box, type Flow } from './flow';
import { lostShort, versionName } from './words';
import '../style/topology.css';

const alone = 6; // services of a column that have boxes of their own
const margin = 20; // px around the picture

export function Topology() {
  const { value: o } = useTopic<Overview>('overview');
  const [words, setWords] = useQuery('q');
  if (!o) return <><Head title="Topology" /><Loading what="the topology" /></>;
  return (
    <>
      <Head title="Topology" sub="Requests per second over the last ten seconds, from outside to the right. What is wider is more.">
        <input type="search" placeholder="Find a service" aria-label="Find a service" value={words} onInput={(e) => setWords(e.currentTarget.value)} />
      </Head>
      <Running of={o} />
      <Drawn of={o} words={words.trim().toLowerCase()} />
      <AsTable of={o} />
    </>
  );
}

/** The releases that run now, above the picture in which they are seen. */
function Running({ of: o }: { of: Overview }) {
  const running = o.releases.filter((r) => goesOn(r.verdict));
  if (running.length === 0) return null;
  return (
    <ul class="row" aria-label="Releases that run now">
      {running.slice(0, 4).map((r) => <li key={r.id} class="row"><VerdictBadge verdict={r.verdict} lost={r.lost} /><a href={place(['releases', r.id])}>{r.name}: {r.what}</a><span class="small quiet">{some(r.served, 'request')} served, {r.lost ? <b class="bad">{count(r.lost)} lost</b> : 'none lost'}</span></li>)}
    </ul>
  );
}

function Drawn({ of: o, words }: { of: Overview; words: string }) {
  const [over, setOver] = useState('');
  const frame = useRef<HTMLDivElement>(null);
  const room = useWidth(frame) - 2 * margin;
  const flow = useMemo(
    () => flowOf(o.services, o.edges, o.gateways, alone, (s) => words !== '' && s.name.toLowerCase().includes(words), room),
    [o.services, o.edges, o.gateways, words, room],
  );
  if (o.services.length === 0) return <Card><Empty title="No services yet">They appear as soon as configuration names them.</Empty></Card>;
  const dim = (b: Box) => (words !== '' && b.kind === 'service' && !b.service?.name.toLowerCase().includes(words)) || (over !== '' && !near(flow, over).has(b.id));
  return (
    <div ref={frame} class="topology card" role="region" aria-label="Topology" tabIndex={0}>
      <div class="sheet" style={{ width: `${flow.width}px`, height: `${flow.height}px` }}>
        <Bands flow={flow} over={over} />
        {flow.boxes.map((b) => <BoxOf key={b.id} box={b} wide={flow.card} dim={dim(b)} over={setOver} />)}
      </div>
      <Key />
    </div>
  );
}

const stages = [['serving', 'Serving'], ['warming', 'Warming: as full as its share'], ['draining', 'Draining'], ['ejected', 'Ejected']] as const;

/** What the colours of endpoints mean. */
function Key() {
  return <ul class="key" aria-label="Colours of endpoints">{stages.map(([stage, text]) => <li key={stage}><i style={{ color: `var(--${stage})` }} />{text}</li>)}</ul>;
}

/** The boxes that one exchanges requests with, and itself. */
function near(flow: Flow, id: string): Set<string> {
  const all = new Set([id]);
  for (const b of flow.bands) {
    if (b.from.id === id) all.add(b.to.id);
    if (b.to.id === id) all.add(b.from.id);
  }
  return all;
}

function Bands({ flow, over }: { flow: Flow; over: string }) {
  return (
    <svg width={flow.width} height={flow.height} aria-hidden="true">
      {flow.bands.map((b) => (
        <path key={b.id} d={curve(b, flow.card)} class={b.rate > 0 ? '' : 'idle'} stroke-width={b.width.toFixed(2)}
          style={{ stroke: `var(${b.version === undefined ? '--series-8' : series(b.version)})`, opacity: over && b.from.id !== over && b.to.id !== over ? 0.12 : undefined }} />
      ))}
    </svg>
  );
}

function curve(b: Band, card: number): string {
  const x0 = b.from.x + card;
  const x1 = b.to.x;
  if (x1 > x0) {
    const middle = (x0 + x1) / 2;
    return `M${x0} ${b.y0.toFixed(1)}C${middle} ${b.y0.toFixed(1)} ${middle} ${b.y1.toFixed(1)} ${x1} ${b.y1.toFixed(1)}`;
  }
  const back = 50; // to a service that was met before: out at the right, in at the left
  return `M${x0} ${b.y0.toFixed(1)}C${x0 + back * 2} ${b.y0.toFixed(1)} ${x1 - back * 2} ${b.y1.toFixed(1)} ${x1} ${b.y1.toFixed(1)}`;
}

function BoxOf({ box: b, wide, dim, over }: { box: Box; wide: number; dim: boolean; over(id: string): void }) {
  const how = {
    class: `box ${b.kind} ${dim ? 'dim' : ''}`,
    style: { left: `${b.x}px`, top: `${b.y}px`, width: `${wide}px`, height: `${b.height}px` },
    onMouseEnter: () => over(b.id),
    onMouseLeave: () => over(''),
  };
  if (b.service) return <a {...how} href={place(['services', b.service.name])}><ServiceBox of={b.service} name={b.name} /></a>;
  if (b.others) return <a {...how} href="/" ><b>{some(b.others.length, 'more service')}</b><span class="quiet small">{rate(b.rate)} requests/s · in the overview</span></a>;
  return <div {...how}><GatewayBox box={b} /></div>;
}

function ServiceBox({ of: s, name }: { of: ServiceRow; name: string }) {
  return (
    <>
      <span class="top"><b class="clip">{name}</b><span class="rate">{rate(s.rate.requests)}<small>/s</small></span></span>
      <span class="under"><span>p99 {ms(s.rate.p99_ms)}</span>{s.lost > 0 ? <span class={s.rate.lost > 0 ? 'bad now' : 'bad'} title={`${lostShort(s.ended)}; ${s.rate.lost > 0 ? `${rate(s.rate.lost)} per second now` : 'none in the last 10 s'}`}>{count(s.lost)} lost</span> : <span>none lost</span>}</span>
      {s.versions.map((v, i) => (
        <span key={v.name} class="version">
          <i class="dot" style={{ color: `var(${series(i)})` }} />
          <span class="clip">{versionName(v.name)}</span>
          <Dots of={s.endpoints?.filter((e) => e.version === v.name)} n={v.endpoints} />
          <span class="part">{s.rate.requests > 0 ? percent(v.fraction, 0) : '–'}</span>
        </span>
      ))}
    </>
  );
}

const mostDots = 10;

/** A version's endpoints, each in the colour of its stage; as a number where they are many. */
function Dots({ of, n }: { of: EndpointRow[] | undefined; n: number }) {
  if (!of || of.length === 0 || of.length > mostDots) return <span class="dots small faint">{some(n, 'endpoint')}</span>;
  return <span class="dots">{of.map((e) => <i key={e.id} title={`${e.name}: ${e.sentence || e.stage}`} style={{ color: `var(--${e.ejected ? 'ejected' : e.stage.toLowerCase()})` }}><i style={{ height: `${Math.max(12, e.stage === 'Warming' ? e.share * 100 : 100)}%` }} /></i>)}</span>;
}

const gatewayColour: Record<GatewayRow['stage'], string> = { starting: '--starting', serving: '--serving', draining: '--draining', drained: '--draining', gone: '--gone' };

/** A replica among those of its group: "ingressgateway-2" → "replica 2" */
const replica = (g: GatewayRow) => (g.group && g.id.startsWith(`${g.group}-`) ? `replica ${g.id.slice(g.group.length + 1)}` : g.id);

function GatewayBox({ box: b }: { box: Box }) {
  const replicas = b.replicas ?? [];
  return (
    <>
      <span class="top"><b class="clip">{b.name}</b><span class="rate">{rate(b.rate)}<small>/s</small></span></span>
      <span class="under"><span>{b.replicas ? some(replicas.length, 'replica') : 'callers who ask no gateway'}</span></span>
      {replicas.slice(0, 8).map((g) => (
        <span key={g.id} class="version" title={g.leave}>
          <i class="dot" style={{ color: `var(${gatewayColour[g.stage]})` }} />
          <span class="clip" title={g.id}>{replica(g)}</span>
          <span class={g.stage === 'serving' ? 'part' : 'faint'}>{g.stage === 'serving' ? rate(g.rate.requests) : g.stage}</span>
        </span>
      ))}
    </>
  );
}

/** The same as a table: who calls what. */
function AsTable({ of: o }: { of: Overview }) {
  const [open, set] = useState(false);
  return (
    <details class="as-table" onToggle={(e) => set(e.currentTarget.open)}>
      <summary class="quiet">As a table</summary>
      {open && (
        <div class="card table dense" role="region" aria-label="Who calls what" tabIndex={0}>
          <table>
            <thead><tr><th scope="col"><span>From</span></th><th scope="col"><span>To</span></th><th scope="col" class="number"><span>Requests/s</span></th><th scope="col" class="number"><span>In all</span></th></tr></thead>
            <tbody>{o.edges.map((e) => <tr key={`${e.from} ${e.to}`}><td>{e.from === direct ? 'past the gateways' : e.from || 'outside'}</td><td>{e.to}</td><td class="number">{rate(e.requests)}</td><td class="number">{count(e.total)}</td></tr>)}</tbody>
          </table>
        </div>
      )}
    </details>
  );
}
