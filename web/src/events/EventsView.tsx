import { useMemo, useState } from 'preact/hooks';
import type { FleetEvent } from '../api';
import { some } from '../format';
import { markWords } from '../instances/marks';
import { useQuery } from '../router';
import { useGet } from '../topics';
import { Refused } from '../ui/dialog';
import { Card, Empty, Head, Loading, Segments } from '../ui/parts';
import { Events } from './Lines';
import { newestFirst } from './order';

const most = 1000; // asked for
const atOnce = 200; // shown before somebody asks for more
const groups = [['', 'All'], ['instances', 'Instances'], ['gateways', 'Gateways'], ['settings', 'Settings'], ['people', 'By people'], ['trouble', 'Trouble']] as const;
type Group = (typeof groups)[number][0];

/** What has happened, the newest first, as control keeps it. */
export function EventsView() {
  const [paused, setPaused] = useState(false);
  const { value, refusal } = useGet<{ events: FleetEvent[] | null }>('events', { limit: most }, paused ? undefined : 2000);
  const [search, setSearch] = useQuery('q');
  const [group, setGroup] = useQuery('of');
  const [shown, setShown] = useState(atOnce);
  const all = useMemo(() => newestFirst(value?.events ?? none), [value]);
  const found = useMemo(() => all.filter((e) => within(e, group as Group) && fits(e, search)), [all, group, search]);
  return (
    <>
      <Head title="Events" sub="What has happened to endpoints, gateways and the configuration, and who did it." >
        <button type="button" class="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>{paused ? 'Go on' : 'Pause'}</button>
      </Head>
      {refusal && !value && <Refused refusal={refusal} />}
      {!value && !refusal ? <Card><Loading what="events" /></Card> : (
        <Card
          title={some(found.length, 'event')} beside={found.length < all.length && <span class="faint small">{`of ${all.length}`}</span>} flush
          tools={<>
            <input type="search" aria-label="Search events" placeholder="Kind, instance, service, reason…" value={search} onInput={(e) => setSearch(e.currentTarget.value)} />
            <Segments label="Which events" value={group as Group} of={groups} choose={setGroup} />
          </>}
        >
          {all.length > 0 && found.length === 0 ? <Empty title="No event fits">Change the search or the filter.</Empty> : <Days of={found.slice(0, shown)} />}
          {found.length > shown && <p class="events-more"><button type="button" class="button" onClick={() => setShown(shown + most)}>{`Show ${found.length - shown} more`}</button></p>}
        </Card>
      )}
    </>
  );
}

const none: FleetEvent[] = [];

/** Events under the day on which they were. */
function Days({ of }: { of: readonly FleetEvent[] }) {
  const days = useMemo(() => {
    const out: { day: string; events: FleetEvent[] }[] = [];
    for (const e of of) {
      const day = new Date(e.time).toLocaleDateString('en-GB', { weekday: 'long', day: 'numeric', month: 'long' });
      if (out[out.length - 1]?.day !== day) out.push({ day, events: [] });
      out[out.length - 1]!.events.push(e);
    }
    return out;
  }, [of]);
  if (days.length < 2) return <Events of={of} />;
  return <>{days.map((d) => <section key={d.day}><h3 class="events-day">{d.day}</h3><Events of={d.events} /></section>)}</>;
}

function fits(e: FleetEvent, search: string): boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${e.kind} ${e.endpoint ?? ''} ${e.service ?? ''} ${e.incarnation ?? ''} ${e.from ?? ''} ${e.by ?? ''} ${e.reason ?? ''}`.toLowerCase();
  return words.every((w) => text.includes(w));
}

function within(e: FleetEvent, group: Group): boolean {
  switch (group) {
    case '': return true;
    case 'people': return e.by !== undefined || /\bby (?!hand$)\S/.test(e.reason ?? '');
    case 'trouble': return markWords(e.kind).tone === 'bad';
    case 'settings': return /^(config|settings|document|lifecycle)\./.test(e.kind);
    case 'gateways': return /^(gateway|listener|follower)\./.test(e.kind);
    case 'instances': return e.incarnation !== undefined || /^(workload|instance|agent|registration)\./.test(e.kind);
  }
}
