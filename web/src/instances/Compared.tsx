import { useMemo, useRef, useState } from 'preact/hooks';
import type { Episode } from '../api';
import { count, ms, nanoseconds, rate, seconds } from '../format';
import { place } from '../router';
import { useTopic } from '../topics';
import { toast } from '../ui/dialog';
import { DownloadIcon } from '../ui/icons';
import { Card, Empty, Loading, Segments, StageBadge } from '../ui/parts';
import { curveName, figures } from './curve';
import { Drawn, type Canvases } from './Drawn';
import { image, save } from './image';
import { markWords } from './marks';
import { Numbers } from './Numbers';
import { overlay } from './picture';

const colours = ['--series-1', '--series-2'] as const;
const scales = [['asis', 'Requests per second'], ['part', 'Of its own highest']] as const;

/** Two instances over each other, by the time since each was offered to requests. */
export function Compared({ ids }: { ids: [string, string] }) {
  const a = useTopic<Episode>(`episode:${ids[0]}`);
  const b = useTopic<Episode>(`episode:${ids[1]}`);
  if (a.value && b.value) return <Two a={a.value} b={b.value} />;
  const gone = a.gone ?? b.gone;
  return <div class="card">{gone === undefined ? <Loading what="both instances" /> : <Empty title="One of them is not known any more">{gone} <a href={place(['instances', a.gone === undefined ? ids[0] : ids[1]])}>Show the other.</a></Empty>}</div>;
}

function Two({ a, b }: { a: Episode; b: Episode }) {
  const [scale, setScale] = useState<'asis' | 'part'>('asis');
  const names = a.name === b.name ? [`${a.name} (${a.id.slice(0, 8)})`, `${b.name} (${b.id.slice(0, 8)})`] : [a.name, b.name];
  const shown = useMemo(
    () => overlay([a, b].map((episode, i) => ({ name: names[i]!, colour: colours[i]!, episode })), scale === 'part'),
    [a, b, scale],
  );
  const drawn = useRef<Canvases | null>(null);
  const png = async () => {
    if (!drawn.current) return;
    save(await image(names.join(' and '), shown.zero, [drawn.current]), `${names.join('-')}.png`);
    toast('The picture is in your downloads.');
  };
  return (
    <div class="stack">
      <Card
        title={<>{names.map((n, i) => <span key={n} class="compared-name">{i > 0 && ' and '}<i class="dot" style={{ color: `var(${colours[i]!})` }} /> {n}</span>)}</>}
        tools={<>
          <button type="button" class="button small" onClick={() => void png()}><DownloadIcon />PNG</button>
          <a class="button small" href={place(['instances', b.id], { with: a.id })}>Swap</a>
          <a class="button small" href={place(['instances', a.id])}>Stop comparing</a>
        </>}
      >
        {shown.panels.length === 0 ? (
          <Empty title="Nothing to lay over each other">Of at least one of them no second since it was offered is kept.</Empty>
        ) : (
          <>
            <Segments label="Scale of requests" value={scale} of={scales} choose={(v) => setScale(v)} />
            <Drawn picture={shown} drawn={(c) => (drawn.current = c)} />
            <Numbers picture={shown} />
          </>
        )}
      </Card>
      <Card title="Side by side" flush><Sides of={[a, b]} names={names} /></Card>
    </div>
  );
}

/** What two came to, in a table whose columns are the two. */
function Sides({ of, names }: { of: [Episode, Episode]; names: string[] }) {
  const f = of.map(figures);
  const text = (v: number | undefined, say: (n: number) => string) => (v === undefined ? '–' : say(v));
  const rows: [string, string[] | preact.ComponentChildren[]][] = [
    ['Stage', of.map((e) => <StageBadge stage={e.stage} killed={e.killed} />)],
    ['Version', of.map((e) => e.version ?? '–')],
    ['Warm-up', of.map((e) => (e.warmup?.window_ns ? `${nanoseconds(e.warmup.window_ns)}, ${curveName(e.warmup.aggression)}` : 'none'))],
    ['Ready after', f.map((x) => text(x.ready, seconds))],
    ['Warm after', f.map((x) => text(x.warm, seconds))],
    ['Highest rate', f.map((x) => `${rate(x.peak)}/s`)],
    ['Sent', f.map((x) => count(x.sent))],
    ['Failed', f.map((x) => count(x.failed))],
    ['Highest p99', f.map((x) => ms(x.p99))],
    ...steps(of),
  ];
  return (
    <div class="table dense" role="region" aria-label="Side by side" tabIndex={0}>
      <table>
        <thead><tr><th scope="col"><span>What</span></th>{of.map((e, i) => <th key={e.id} scope="col"><span><i class="dot" style={{ color: `var(${colours[i]!})` }} /> <a href={place(['instances', e.id])}>{names[i]}</a></span></th>)}</tr></thead>
        <tbody>{rows.map(([what, cells]) => <tr key={what}><th scope="row"><span>{what}</span></th>{cells.map((c, i) => <td key={i}>{c}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}

/** When each event of either came, since its start. */
function steps(of: [Episode, Episode]): [string, string[]][] {
  const kinds = [...new Set(of.flatMap((e) => (e.marks ?? []).map((m) => m.kind)))];
  return kinds.slice(0, 20).map((kind) => [
    markWords(kind).label,
    of.map((e) => {
      const m = (e.marks ?? []).find((x) => x.kind === kind);
      return m ? `${seconds(Math.max(0, Date.parse(m.at) - Date.parse(e.began)) / 1000)} after its start` : '–';
    }),
  ]);
}
