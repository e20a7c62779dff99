import { useEffect, useMemo, useState } from 'preact/hooks';
import type { ComponentChildren } from 'preact';
import type { Episode, Release } from '../api';
import { get } from '../call';
import { clock, count, ms, percent, seconds } from '../format';
import { Drawn } from '../instances/Drawn';
import { Numbers } from '../instances/Numbers';
import { overlay } from '../instances/picture';
import { place } from '../router';
import { useTopic } from '../topics';
import { Card, Empty, Head, Loading, VerdictBadge } from '../ui/parts';
import { totals, warmTimes } from './model';
import { took } from './ReleasesView';

const colours = ['--series-1', '--series-2'] as const;
const mostOfEach = 6; // instances of each whose starts are laid over each other

/** Two releases beside each other: their figures, and the starts of their instances over each other. */
export function Pair({ ids }: { ids: [string, string] }) {
  const a = useTopic<Release>(`release:${ids[0]}`);
  const b = useTopic<Release>(`release:${ids[1]}`);
  const gone = a.gone ?? b.gone;
  return (
    <>
      <Head title="Two releases" sub={<><a href="/releases">Releases</a> · beside each other</>}>
        <a class="button" href={place(['releases', ids[1]], { with: ids[0] })}>Swap</a>
        <a class="button" href={place(['releases', ids[0]])}>Stop comparing</a>
      </Head>
      {a.value && b.value ? <Both of={[a.value, b.value]} /> : <Card>{gone === undefined ? <Loading what="both releases" /> : <Empty title="One of them is not known any more">{gone}</Empty>}</Card>}
    </>
  );
}

function Both({ of }: { of: [Release, Release] }) {
  return (
    <>
      <Card title="Figures" flush><Figures of={of} /></Card>
      <Card title="Starts over each other" beside={<span class="faint small">{`up to ${mostOfEach} instances of each, by the time since each was offered`}</span>}>
        <Starts of={of} />
      </Card>
    </>
  );
}

function Figures({ of }: { of: [Release, Release] }) {
  const t = of.map((r) => totals(r.requests));
  const w = of.map(warmTimes);
  const rows: [string, ComponentChildren[]][] = [
    ['Verdict', of.map((r) => <VerdictBadge verdict={r.verdict} />)],
    ['What', of.map((r) => r.what)],
    ['Began', of.map((r) => clock(r.began))],
    ['Took', of.map((r) => took(r))],
    ['Came / went', of.map((r) => `${(r.came ?? []).length} / ${(r.went ?? []).length}`)],
    ['Served', t.map((x) => count(x.served))],
    ['Lost', t.map((x) => <span class={x.lost > 0 ? 'bad' : ''}>{`${count(x.lost)}${x.ended > 0 ? ` (${percent(x.lost / x.ended)})` : ''}`}</span>)],
    ['p99 before', of.map((r) => ms(r.before?.p99_ms))],
    ['p99 while it ran', of.map((r) => ms(r.during?.p99_ms))],
    ['p99 after', of.map((r) => ms(r.after?.p99_ms))],
    ['Longest time to warm', w.map((x) => (x.longest === undefined ? '–' : seconds(x.longest)))],
    ['Cut by drains', of.map((r) => count(r.drains?.cut ?? 0))],
    ['Killed', of.map((r) => count(r.drains?.killed ?? 0))],
  ];
  return (
    <div class="table dense" role="region" aria-label="Figures" tabIndex={0}>
      <table>
        <thead>
          <tr><th scope="col"><span class="hidden">What</span></th>{of.map((r, i) => <th key={r.id} scope="col"><span><i class="dot" style={{ color: `var(${colours[i]!})` }} /><a href={place(['releases', r.id])}>{r.name}</a></span></th>)}</tr>
        </thead>
        <tbody>{rows.map(([what, cells]) => <tr key={what}><th scope="row"><span>{what}</span></th>{cells.map((c, i) => <td key={i}>{c}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}

function Starts({ of }: { of: [Release, Release] }) {
  const wanted = of.flatMap((r, i) => (r.came ?? []).slice(0, mostOfEach).map((id) => ({ id, colour: colours[i]! })));
  const [known, setKnown] = useState<{ colour: string; episode: Episode }[]>();
  const what = wanted.map((w) => w.id).join();
  useEffect(() => {
    const stop = new AbortController();
    void Promise.allSettled(wanted.map(({ id }) => get<Episode>(`episodes/${encodeURIComponent(id)}`, undefined, stop.signal))).then((all) => {
      if (stop.signal.aborted) return;
      setKnown(all.flatMap((answer, i) => (answer.status === 'fulfilled' ? [{ colour: wanted[i]!.colour, episode: answer.value }] : [])));
    });
    return () => stop.abort();
  }, [what]);
  const shown = useMemo(() => known && overlay(known.map((k) => ({ ...k, name: k.episode.name })), false), [known]);
  if (!shown) return <Loading what="their instances" />;
  if (shown.panels.length === 0) return <Empty title="Nothing to lay over each other">Of no instance that came with them a second since it was offered is kept.</Empty>;
  return <><Drawn picture={shown} /><Numbers picture={shown} /></>;
}
