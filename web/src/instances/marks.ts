/** What sort of moment a mark is: it gives its colour, and its sign, so that nothing hangs on colour alone. */
export type Tone = 'start' | 'ready' | 'warm' | 'leave' | 'bad' | 'quiet';

/** How a kind of event is called on a chart, in a list, and what it means. */
export interface MarkWords {
  label: string;
  tone: Tone;
  means: string;
}

const words: Record<string, MarkWords> = {
  'instance.starting': { label: 'starting', tone: 'start', means: 'Its process is being started.' },
  'instance.started': { label: 'started', tone: 'start', means: 'Its process runs.' },
  'agent.joined': { label: 'agent joined', tone: 'quiet', means: 'Its agent follows control.' },
  'probe.passed': { label: 'probe passed', tone: 'ready', means: 'Its application answers its own health check.' },
  'probe.failed': { label: 'probe failed', tone: 'bad', means: 'Its application does not answer its health check.' },
  'warmup.requests.started': { label: 'warm-up requests', tone: 'warm', means: 'It is sent requests before anybody else can send any.' },
  'warmup.requests.progress': { label: 'warm-up requests go on', tone: 'quiet', means: 'Its warm-up requests are under way.' },
  'warmup.requests.ended': { label: 'warm-up requests done', tone: 'warm', means: 'Its warm-up requests are over.' },
  'registration.delayed': { label: 'registration delayed', tone: 'quiet', means: 'It waits the delay that its Lifecycle asks for before it registers.' },
  'registration.completed': { label: 'registered', tone: 'start', means: 'The registry has it, and has been read back.' },
  'registration.found': { label: 'found registered', tone: 'start', means: 'It was in the registry before anybody looked.' },
  'registration.failed': { label: 'registration failed', tone: 'bad', means: 'The registry did not take it.' },
  'registration.refused': { label: 'registration refused', tone: 'bad', means: 'It failed its warm-up requests, and is not registered.' },
  'readiness.passed': { label: 'readiness passed', tone: 'ready', means: 'Its readiness port answers 200: what rolls it out may go on.' },
  'readiness.lost': { label: 'readiness lost', tone: 'bad', means: 'It does not pass its checks any more.' },
  'readiness.regained': { label: 'readiness regained', tone: 'ready', means: 'It passes its checks again.' },
  'warmup.started': { label: 'warm-up started', tone: 'warm', means: 'It is offered to requests; its share grows from here.' },
  'warmup.ended': { label: 'warm-up ended', tone: 'ready', means: 'Its share is 1.' },
  'warmup.skipped': { label: 'warm-up skipped', tone: 'warm', means: 'Somebody gave it its whole share at once.' },
  'warmup.paused': { label: 'warm-up paused', tone: 'warm', means: 'Its share stays as it is.' },
  'warmup.resumed': { label: 'warm-up resumed', tone: 'warm', means: 'Its share grows again.' },
  'warmup.restarted': { label: 'warm-up restarted', tone: 'warm', means: 'It begins its warm-up anew.' },
  'weight.changed': { label: 'weight changed', tone: 'warm', means: 'Somebody changed what its weight is multiplied by.' },
  'endpoint.ejected': { label: 'ejected', tone: 'bad', means: 'A gateway sends it nothing for a while, because of its answers.' },
  'endpoint.returned': { label: 'returned', tone: 'ready', means: 'A gateway sends to it again.' },
  'endpoint.leaves': { label: 'leave heard of', tone: 'leave', means: 'A gateway heard from itself that it leaves.' },
  'instance.leaving': { label: 'told to leave', tone: 'leave', means: 'It is to go.' },
  'offline.requested': { label: 'offline', tone: 'leave', means: 'It takes itself out of service: nothing new is to be sent to it.' },
  deregistered: { label: 'deregistered', tone: 'leave', means: 'The registry has it no more.' },
  'drain.started': { label: 'draining', tone: 'leave', means: 'It finishes what is open, and gets nothing new.' },
  drained: { label: 'drained', tone: 'leave', means: 'Nothing is open to it any more.' },
  'drain.overdue': { label: 'drain overdue', tone: 'bad', means: 'Its time to drain was over before everything was done.' },
  'prestop.done': { label: 'preStop done', tone: 'quiet', means: 'Its hook before the stop has returned.' },
  'prestop.failed': { label: 'preStop failed', tone: 'bad', means: 'Its hook before the stop failed.' },
  'instance.stopped': { label: 'stopped', tone: 'leave', means: 'Its process has ended, as it was asked to.' },
  stopped: { label: 'agent stopped', tone: 'quiet', means: 'Its agent has ended.' },
  'instance.died': { label: 'died', tone: 'bad', means: 'Its process ended without being asked to.' },
  died: { label: 'died', tone: 'bad', means: 'Its process ended without being asked to.' },
  'instance.killed': { label: 'killed', tone: 'bad', means: 'Its process did not end in time, and was killed.' },
  'workload.scaled': { label: 'scaled', tone: 'warm', means: 'There are to be more or fewer of them.' },
  'workload.restarted': { label: 'rolled', tone: 'warm', means: 'All of them are to be replaced.' },
  'gateway.scaled': { label: 'gateway scaled', tone: 'warm', means: 'There are to be more or fewer replicas.' },
  'gateway.restarted': { label: 'gateway rolled', tone: 'warm', means: 'All its replicas are to be replaced.' },
  'gateway.ready': { label: 'gateway ready', tone: 'ready', means: 'A replica serves.' },
  'gateway.drain.asked': { label: 'drain asked for', tone: 'leave', means: 'Somebody asked a replica to leave.' },
  'gateway.undrain.asked': { label: 'undrain asked for', tone: 'warm', means: 'Somebody asked a replica to stay.' },
  'gateway.leaving': { label: 'gateway leaving', tone: 'leave', means: 'A replica is told to leave.' },
  'gateway.draining': { label: 'gateway draining', tone: 'leave', means: 'A replica finishes what is open.' },
  'gateway.drained': { label: 'gateway drained', tone: 'leave', means: 'Nothing is open at a replica any more.' },
  'gateway.cut': { label: 'gateway cut', tone: 'bad', means: 'A replica ended what was open when its time was over.' },
  'config.applied': { label: 'configuration applied', tone: 'ready', means: 'A new configuration is in force.' },
  'settings.created': { label: 'document created', tone: 'warm', means: 'Somebody added to the configuration.' },
  'settings.changed': { label: 'document changed', tone: 'warm', means: 'Somebody changed the configuration.' },
  'settings.deleted': { label: 'document deleted', tone: 'warm', means: 'Somebody took something out of the configuration.' },
  'config.warning': { label: 'warning', tone: 'warm', means: 'Something in the configuration asks for a look.' },
  'instance.gone': { label: 'gone', tone: 'leave', means: 'Nobody has it any more.' },
};

/** Words for a kind of event; one that is not known is called by its own name. */
export function markWords(kind: string): MarkWords {
  const known = Object.hasOwn(words, kind) ? words[kind] : undefined;
  if (known) return known;
  const bad = /(failed|died|killed|lost|refused|overdue|rejected|away)$/.test(kind);
  return { label: kind.replaceAll('.', ' '), tone: bad ? 'bad' : 'quiet', means: '' };
}

const reasons: Record<string, string> = {
  new: 'it is new, and follows its warm-up',
  'not-ready': 'it does not pass its checks now',
  recovered: 'it is back, on a shortened warm-up',
  baseline: 'it was there before warm-up was switched on',
  budget: 'raised above its curve, so that warm instances do not carry too much',
  probe: 'raised for a moment, so that a low rate does not starve it',
  'bypass-single': 'there is nobody else to send to',
  'bypass-all-cold': 'everybody warms up: shares are relative to the warmest',
  manual: 'somebody moved or paused its warm-up',
  weight: 'somebody changed its weight',
  ejected: 'a gateway sends it nothing for a while, because of its answers',
  panic: 'it would be left out, but too few are in service',
  drained: 'it is leaving, or its weight is 0',
  elsewhere: 'the policy sends nothing to where it is',
};

/** Why a share is what it is, for people: internal/warmup's reasons. One that is not known stands as it is. */
export function reasonText(reason: string): string {
  return Object.hasOwn(reasons, reason) ? reasons[reason]! : reason;
}

/** A sign for each tone. */
export const signs: Record<Tone, string> = { start: '▲', ready: '●', warm: '◆', leave: '▼', bad: '✕', quiet: '·' };

/** Marks that only say how far something is: they are in the list, and not on the chart. */
export function onChart(kind: string): boolean {
  return markWords(kind).tone !== 'quiet';
}
