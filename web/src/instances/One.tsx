import { useMemo, useRef, useState } from 'preact/hooks';
import { Acts } from '../acts/Acts';
import type { Episode } from '../api';
import { address } from '../call';
import { count, ms, nanoseconds, percent, rate, seconds } from '../format';
import { place } from '../router';
import { useTopic } from '../topics';
import { toast } from '../ui/dialog';
import { DownloadIcon } from '../ui/icons';
import { Badge, Card, Empty, Facts, Figures, Loading, Notice, StageBadge } from '../ui/parts';
import { curveName, figures } from './curve';
import { Drawn, type Canvases } from './Drawn';
import { image, save } from './image';
import { MarkList } from './MarkList';
import { Numbers } from './Numbers';
import { reasonText } from './marks';
import { pictures } from './picture';

/** One instance: its figures, its pictures, its events; live while something happens to it. */
export function One({ id }: { id: string }) {
  const { value: e, gone, condition } = useTopic<Episode>(`episode:${id}`);
  if (e) return <Story e={e} />;
  return <div class="card">{gone !== undefined ? <Unknown id={id} /> : condition === 'away' ? <Empty title="Control is away">It is shown when control is back.</Empty> : <Loading what="this instance" />}</div>;
}

function Unknown({ id }: { id: string }) {
  return <Empty title="This instance is not known any more">Episodes are kept for the newest instances; <code>{id}</code> is not among them.</Empty>;
}

function Story({ e }: { e: Episode }) {
  const [hot, setHot] = useState(0);
  const drawn = useRef(new Map<string, Canvases>());
  const shown = useMemo(() => pictures(e), [e]);
  const top = Math.max(0, ...shown.flatMap((p) => (p.panels[0]?.traces ?? []).flatMap((t) => t.values.map((v) => v ?? 0))));
  const png = async () => {
    const made = await image(`${e.name} · ${e.namespace}`, subtitle(e), [...drawn.current.values()]);
    save(made, `${e.name}-${e.id}.png`);
    toast('The picture is in your downloads.');
  };
  return (
    <div class="stack" data-episode={e.id}>
      <section class="card story-head">
        <div class="row">
          <h2 class="story-name">{e.name}</h2>
          <StageBadge stage={e.stage} killed={e.killed} />
          {e.version && <Badge>{e.version}</Badge>}
          {e.partial && <Badge tone="warn" title="It was there before anybody looked.">start not seen</Badge>}
          <div class="row story-tools">
            <button type="button" class="button small" disabled={shown.length === 0} onClick={() => void png()}><DownloadIcon />PNG</button>
            <a class="button small" href={address(`episodes/${encodeURIComponent(e.id)}`, { download: 1 })} download><DownloadIcon />JSON</a>
            {e.running && <Acts of={{ kind: 'endpoint', namespace: e.namespace, name: e.name, stage: e.stage }} />}
          </div>
        </div>
        <About e={e} />
      </section>
      <Outcome e={e} />
      <Why e={e} />
      {shown.length === 0 && <Card><Empty title="No numbers are kept of it">Its start lies too far back, or nothing has reported what it was sent.</Empty></Card>}
      <div class="pictures">
        {shown.map((p) => (
          <section key={p.title} class="card picture" style={{ flexGrow: p.x.length }}>
            <header><h3>{p.title}</h3><span class="faint small">{p.zero}</span></header>
            <Drawn picture={p} hot={hot} top={shown.length > 1 ? top : undefined} drawn={(c) => (c ? drawn.current.set(p.title, c) : drawn.current.delete(p.title))} />
            <Numbers picture={p} />
          </section>
        ))}
      </div>
      <Card title="What happened" beside={<span class="faint small">in order</span>} flush>
        <MarkList marks={e.marks ?? []} zero={e.offered} hot={hot} point={setHot} />
      </Card>
    </div>
  );
}

function subtitle(e: Episode): string {
  return [e.version && `version ${e.version}`, (e.services ?? []).join(', '), warmupText(e), e.began && `began ${e.began.slice(0, 19).replace('T', ' ')}`].filter(Boolean).join('  ·  ');
}

function warmupText(e: Episode): string {
  const w = e.warmup;
  if (!w || !(w.window_ns > 0)) return 'no warm-up';
  return `warm-up ${nanoseconds(w.window_ns)}, ${curveName(w.aggression)}${w.minimum ? `, from ${percent(w.minimum)}` : ''}`;
}

function About({ e }: { e: Episode }) {
  return (
    <Facts of={[
      ['Service', (e.services ?? []).length ? (e.services ?? []).map((s, i) => <>{i > 0 && ', '}<a href={place(['services', s])}>{s}</a></>) : 'none'],
      e.workload !== undefined && ['Workload', <><a href={place(['settings', 'start', e.namespace, e.workload])} title="Its graceful start">{e.workload}</a>{e.revision && <span class="faint"> · revision <code>{e.revision.slice(0, 12)}</code></span>}</>],
      e.address !== undefined && ['Address', <code>{e.address}</code>],
      ['Warm-up', warmupText(e)],
      ['Incarnation', <code>{e.id}</code>],
    ]} />
  );
}

function Outcome({ e }: { e: Episode }) {
  const f = figures(e);
  return (
    <Figures label="What it came to" of={[
      { name: 'Ready after', value: f.ready === undefined ? '–' : seconds(f.ready), note: 'from its start until it was offered' },
      { name: 'Warm after', value: f.warm === undefined ? '–' : seconds(f.warm), note: e.warm || e.left ? 'from there until its share was 1' : 'not yet' },
      { name: 'Highest rate', value: <>{rate(f.peak)}<small>/s</small></>, note: 'in one second' },
      { name: 'Failed', value: count(f.failed), tone: f.failed > 0 ? 'bad' : undefined, note: `of ${count(f.sent)} that were sent here` },
      { name: 'Highest p99', value: ms(f.p99), note: 'of one second' },
    ]} />
  );
}

/** Why its share is what it is now, where that is news. */
function Why({ e }: { e: Episode }) {
  const last = (e.points ?? []).filter((p) => p.reason).pop();
  if (e.killed) return <Notice tone="bad">It ended without leaving: whatever was open to it was cut.</Notice>;
  if (!last?.reason || !e.running || e.stage === 'Serving') return null;
  return <Notice><b>{`Its share is ${percent(e.points![e.points!.length - 1]!.share, 0)}`}</b>{`: ${reasonText(last.reason)}.`}</Notice>;
}
