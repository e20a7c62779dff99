import { useMemo } from 'preact/hooks';
import type { EpisodeRow, Loss, Quantiles, Release, ReleaseRow, WarmTime } from '../api';
import { address } from '../call';
import { clock, count, ms, nanoseconds, percent, seconds, some } from '../format';
import { Events } from '../events/Lines';
import { go, place } from '../router';
import { useTopic } from '../topics';
import { DownloadIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Badge, Card, Empty, Facts, Figures, Head, Loading, Notice, VerdictBadge } from '../ui/parts';
import { Gantt } from './Gantt';
import { adviceOn, diedDuring, kindText, sideText, totals, warmTimes } from './model';
import { took } from './ReleasesView';

/** One release: what it came to, and all that it came to it by; live while it runs. */
export function One({ id, rows }: { id: string; rows: readonly ReleaseRow[] }) {
  const { value: r, gone } = useTopic<Release>(`release:${id}`);
  if (r) return <Told r={r} rows={rows} />;
  return (
    <>
      <Head title="Release" />
      <Card>{gone === undefined ? <Loading what="this release" /> : <Nothing id={id} />}</Card>
    </>
  );
}

function Nothing({ id }: { id: string }) {
  if (id === 'latest') return <Empty title="No release yet">It shows here as soon as something is rolled out or scaled.</Empty>;
  return <Empty title="There is no such release">It was never recognised, or it lies too far back. <a href="/releases">All releases</a></Empty>;
}

function Told({ r, rows }: { r: Release; rows: readonly ReleaseRow[] }) {
  const { value } = useTopic<{ episodes: EpisodeRow[] | null }>('episodes');
  const instances = useMemo(() => {
    const ids = new Set([...(r.came ?? []), ...(r.went ?? [])]);
    return (value?.episodes ?? []).filter((e) => ids.has(e.id));
  }, [value, r]);
  const from = Math.min(Date.parse(r.began), ...instances.filter((e) => r.came?.includes(e.id)).map((e) => Date.parse(e.began))) / 1000;
  const to = (r.ended ? Date.parse(r.ended) : Date.now()) / 1000;
  return (
    <>
      <Head
        title={r.name} beside={<><VerdictBadge verdict={r.verdict} lost={totals(r.requests).lost} /><Badge>{r.kind}</Badge></>}
        sub={<><a href="/releases">Releases</a>{` · ${r.what} · began ${clock(r.began)} · ${r.ended ? `took ${took(r)}` : `runs for ${took(r)}`}`}</>}
      >
        <Beside r={r} rows={rows} />
        <a class="button" href={address(`releases/${encodeURIComponent(r.id)}/report`)} target="_blank" rel="noopener">Report<span class="hidden">, in a new tab</span></a>
        <a class="button" href={address(`releases/${encodeURIComponent(r.id)}`, { download: 1 })} download><DownloadIcon />JSON</a>
      </Head>
      <Notice tone={totals(r.requests).lost > 0 ? 'bad' : ({ lossless: 'good', lossy: 'bad', unproven: 'warn', stalled: 'warn', running: 'accent' } as const)[r.verdict]}>
        <b>{sentence(r.why)}</b>
        {(r.doubts ?? []).length > 0 && <ul>{(r.doubts ?? []).map((d) => <li key={d}>{d}</li>)}</ul>}
        {r.overtaken_by && <p><a href={place(['releases', r.overtaken_by])}>The release that was asked for before this one was as wanted</a></p>}
      </Notice>
      <Advice r={r} died={diedDuring(r, value?.episodes ?? [])} />
      <Sum r={r} />
      {instances.length > 0 && (
        <Card title="Who came and who went" beside={<span class="faint small">{`${some((r.came ?? []).length, 'instance')} came, ${count((r.went ?? []).length)} went`}</span>}>
          <Gantt episodes={instances} came={r.came ?? []} from={from} to={to} />
        </Card>
      )}
      {instances.length === 0 && (r.came ?? []).length + (r.went ?? []).length > 0 && (
        <Card title="Who came and who went">
          <Facts of={[['Came', (r.came ?? []).join(', ') || 'nobody'], ['Went', (r.went ?? []).join(', ') || 'nobody']]} />
        </Card>
      )}
      <div class="columns">
        <Card title="Lost" flush><Losses r={r} /></Card>
        <Card title="Latency" flush><Latency r={r} /></Card>
        <Card title="Time to warm" flush><Warm r={r} instances={instances} /></Card>
        <Card title="Drains"><Drains r={r} /></Card>
      </div>
      <Card title="Events" beside={<span class="faint small">in order</span>} flush><Events of={r.events ?? []} most={40} /></Card>
    </>
  );
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What lost requests have to do with, and what to do about it. */
function Advice({ r, died }: { r: Release; died: readonly EpisodeRow[] }) {
  const all = adviceOn(r, died.length);
  if (all.length === 0) return null;
  return (
    <Card title="Why, and what to do">
      <ul class="advice">
        {all.map((a) => <li key={a.what}><b>{a.what}</b> {a.todo}{a.of === 'killed' && died.length > 0 && <> How each ended: {died.map((e, i) => <>{i > 0 && ', '}<a href={place(['instances', e.id])}>{e.name}</a></>)}.</>}</li>)}
      </ul>
    </Card>
  );
}

/** Which other release to lay beside this one. */
function Beside({ r, rows }: { r: Release; rows: readonly ReleaseRow[] }) {
  const others = rows.filter((o) => o.id !== r.id).sort((a, b) => Number(b.name === r.name) - Number(a.name === r.name));
  if (others.length === 0) return null;
  return (
    <Menu label="Compare with another release" text="Compare with…" of={others.slice(0, 12).map((o) => ({
      text: `${o.name}: ${o.what}, ${clock(o.began)}`,
      choose: () => go(place(['releases', r.id], { with: o.id })),
    }))} />
  );
}

function Sum({ r }: { r: Release }) {
  const t = totals(r.requests);
  const warm = warmTimes(r);
  const drains = r.drains;
  return (
    <Figures label="What it came to" of={[
      { name: 'Served', value: count(t.served), note: `of ${count(t.ended)} requests that ended` },
      { name: 'Lost', value: count(t.lost), tone: t.lost > 0 ? 'bad' : t.ended > 0 ? 'good' : undefined, note: t.aborted > 0 ? `and ${count(t.aborted)} that clients gave up` : t.ended > 0 ? percent(t.lost / t.ended) : 'nothing passed' },
      { name: 'p99 while it ran', value: ms(r.during?.p99_ms), note: `${ms(r.before?.p99_ms)} before${r.after?.answers ? `, ${ms(r.after.p99_ms)} after` : ''}` },
      { name: 'Time to warm', value: warm.longest === undefined ? '–' : seconds(warm.longest), note: warm.warm > 1 ? `the longest of ${warm.warm}; median ${seconds(warm.median ?? 0)}` : undefined },
      { name: 'Cut by drains', value: count(drains?.cut ?? 0), tone: drains?.cut ? 'bad' : undefined, note: drains?.instances ? `${drains.drained} of ${some(drains.instances, 'instance')} drained` : 'nobody left' },
    ]} />
  );
}

function Losses({ r }: { r: Release }) {
  const losses: Loss[] = r.losses ?? [];
  if (losses.length === 0) return <Empty title={totals(r.requests).ended > 0 ? 'Nothing was lost' : 'Nothing passed'}>{totals(r.requests).ended > 0 ? `${count(totals(r.requests).ended)} requests ended, and none of them was a loss.` : 'So nothing can be said about losses.'}</Empty>;
  return (
    <div class="table dense" role="region" aria-label="Losses" tabIndex={0}>
      <table>
        <thead><tr><th scope="col"><span>How</span></th><th scope="col"><span>Side</span></th><th scope="col"><span>Service</span></th><th scope="col" class="number"><span>Lost</span></th></tr></thead>
        <tbody>
          {losses.map((l) => (
            <tr key={`${l.kind} ${l.side} ${l.service}`}>
              <td><span title={kindText(l.kind)}>{l.kind}</span> <span class="faint small">{kindText(l.kind) === l.kind ? '' : kindText(l.kind)}</span></td>
              <td><Badge tone={l.side === 'gateway' ? 'away' : 'bad'}>{sideText(l.side)}</Badge></td>
              <td>{l.service === 'mesh' ? 'between services' : l.service ? <a href={place(['services', l.service])}>{l.service}</a> : 'from outside'}</td>
              <td class="number bad">{count(l.n)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {(r.failing ?? []).length > 0 && (
        <p class="release-failing quiet small">
          Attempts that failed: {(r.failing ?? []).map((f, i) => <>{i > 0 && ', '}<a href={place(['instances', f.episode])}>{f.name}</a>{` ${count(f.failed)} of ${count(f.attempts)}`}</>)}
        </p>
      )}
    </div>
  );
}

function Latency({ r }: { r: Release }) {
  const rows: [string, Quantiles | undefined][] = [['In the minute before', r.before], ['While it ran', r.during], ['In the minute after', r.after]];
  const most = Math.max(1, ...rows.map(([, q]) => q?.p99_ms ?? 0));
  return (
    <div class="table dense" role="region" aria-label="Latency" tabIndex={0}>
      <table>
        <thead><tr><th scope="col"><span>When</span></th><th scope="col" class="number"><span>Answers</span></th><th scope="col" class="number"><span>p50</span></th><th scope="col" class="number"><span>p99</span></th><th scope="col" class="wide"><span class="hidden">p99 as a bar</span></th></tr></thead>
        <tbody>
          {rows.map(([when, q]) => (
            <tr key={when}>
              <td class="nowrap">{when}</td>
              <td class="number">{q?.answers ? count(q.answers) : '–'}</td>
              <td class="number">{ms(q?.p50_ms)}</td>
              <td class="number">{ms(q?.p99_ms)}</td>
              <td class="wide latency-bar">{q?.p99_ms ? <i style={{ width: `${(q.p99_ms / most) * 100}%` }} /> : null}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Warm({ r, instances }: { r: Release; instances: readonly EpisodeRow[] }) {
  const warm = r.warm ?? [];
  if (warm.length === 0) return <Empty title="Nobody came" />;
  return (
    <div class="table dense" role="region" aria-label="Time to warm" tabIndex={0}>
      <table>
        <thead><tr><th scope="col"><span>Instance</span></th><th scope="col" class="number"><span>Until offered</span></th><th scope="col" class="number"><span>Until warm</span></th></tr></thead>
        <tbody>
          {warm.map((w) => {
            const now = instances.find((e) => e.id === w.episode);
            return (
              <tr key={w.episode}>
                <td><a href={place(['instances', w.episode])}>{w.name}</a></td>
                <td class="number">{w.ready_ns ? nanoseconds(w.ready_ns) : '–'}</td>
                <td class="number">{untilWarm(w, now)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** How long one took until it was warm; one without a warm-up was so at once. */
function untilWarm(w: WarmTime, now: EpisodeRow | undefined): string {
  if (w.warm_ns) return nanoseconds(w.warm_ns);
  if (w.done) return 'no warm-up';
  return now?.stage === 'Warming' ? `at ${percent(now.share, 0)}` : '–';
}

function Drains({ r }: { r: Release }) {
  const d = r.drains;
  if (!d || d.instances === 0) return <p class="quiet">Nobody left.</p>;
  return (
    <Facts of={[
      ['Left', some(d.instances, 'instance')],
      ['Drained', `${count(d.drained)}: nothing was open to them when they ended`],
      ['Completed', `${some(d.completed, 'request')} that were open, or came later, and were served`],
      ['Cut', <span class={d.cut ? 'bad' : ''}>{d.cut ? `${some(d.cut, 'request')} that were open when the time was over` : 'nothing'}</span>],
      ['Killed', <span class={d.killed ? 'bad' : ''}>{d.killed ? `${some(d.killed, 'instance')} ended without leaving` : 'nobody'}</span>],
    ]} />
  );
}
