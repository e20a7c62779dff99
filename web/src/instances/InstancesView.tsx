import type { EpisodeRow } from '../api';
import { usePlace } from '../router';
import { useTopic } from '../topics';
import { Empty, Head, Loading } from '../ui/parts';
import { Compared } from './Compared';
import { List } from './List';
import { One } from './One';
import './instances.css';

const none: EpisodeRow[] = [];

/** Start and shutdown: every instance's own story. Left who runs and who is gone; right how it came up and how it left. */
export function InstancesView() {
  const { parts, query } = usePlace();
  const id = parts[1];
  const other = query.get('with') ?? undefined;
  const { value } = useTopic<{ episodes: EpisodeRow[] | null }>('episodes');
  const rows = value ? (value.episodes ?? none) : undefined;
  return (
    <>
      <Head title="Start and shutdown" sub="How each instance came up and how it left: what it was sent, and what it should have been sent." />
      <div class={id ? 'instances one' : 'instances'}>
        {rows ? <List rows={rows} chosen={id} other={other} /> : <div class="card"><Loading what="instances" /></div>}
        <div class="instances-story">
          {id && other ? <Compared ids={[id, other]} /> : id ? <One key={id} id={id} /> : <Choose any={(rows?.length ?? 0) > 0} />}
        </div>
      </div>
    </>
  );
}

function Choose({ any }: { any: boolean }) {
  return (
    <div class="card">
      {any ? (
        <Empty title="Choose an instance">Its requests by second over the curve that it should follow, and its events in their order, are shown here.</Empty>
      ) : (
        <Empty title="No instance yet">Scale or roll a deployment, or start an agent beside an application: its start appears here by itself.</Empty>
      )}
    </div>
  );
}
