import { useState } from 'preact/hooks';
import type { FleetEvent } from '../api';
import { clock } from '../format';
import { toneColour } from '../instances/draw';
import { markWords, signs } from '../instances/marks';
import { place } from '../router';
import './events.css';

/** Events as lines of text: when, what, to whom, why, and who saw or did it; the first `most` of them until somebody asks for all. */
export function Events({ of, most = Infinity }: { of: readonly FleetEvent[]; most?: number }) {
  const [all, setAll] = useState(false);
  if (of.length === 0) return <p class="empty">Nothing has happened yet.</p>;
  const shown = all ? of : of.slice(0, most);
  return (
    <>
      <ol class="events">
        {shown.map((e, i) => <li key={`${e.time}${e.kind}${e.incarnation ?? ''}${i}`}><Event e={e} /></li>)}
      </ol>
      {shown.length < of.length && <p class="events-more"><button type="button" class="button" onClick={() => setAll(true)}>{`Show all ${of.length}`}</button></p>}
    </>
  );
}

/** One event. What it says is data: it came from applications and registries, and is never markup. */
export function Event({ e }: { e: FleetEvent }) {
  const { tone } = markWords(e.kind);
  return (
    <>
      <span class="mark-sign" style={{ color: `var(${toneColour[tone]})` }} aria-hidden="true">{signs[tone]}</span>
      <time dateTime={e.time}>{clock(e.time)}</time>
      <span class="event-text">
        <b>{e.kind}</b>{' '}
        {e.endpoint && <>{e.incarnation ? <a href={place(['instances', e.incarnation])}>{e.endpoint}</a> : e.endpoint}{' '}</>}
        {e.service && <><span class="faint">at</span>{' '}<a href={place(['services', e.service])}>{e.service}</a>{' '}</>}
        {e.reason && <span class="quiet">{e.reason}</span>}
      </span>
      <span class="event-from faint">{e.by ? `by ${e.by}` : (e.from ?? '')}</span>
    </>
  );
}
