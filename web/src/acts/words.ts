// What can be done to what, in words: what a menu says, and what a dialog says will happen before it does.

import type { Action, Stage } from '../api';

/** Something that can be acted upon. What is not given is not known. */
export interface Subject {
  kind: 'endpoint' | 'deployment' | 'gateway';
  namespace: string;
  name: string; // of a gateway with a stage: a replica's id; without: the gateway's name
  stage?: Stage | 'starting' | 'serving' | 'draining' | 'drained' | 'gone';
  share?: number; // 0..1
  paused?: boolean;
  factor?: number;
  replicas?: number;
}

/** A number that an act asks for. */
export interface Ask {
  label: string;
  hint: string;
  least: number;
  most: number;
  step: number;
  now: number;
}

export interface Wording {
  action: Action;
  text: string; // in the menu, and the verb of the dialog
  danger?: boolean;
  ask?: Ask;
  will(s: Subject, value: number): string; // what will happen, in a sentence or two
}

const mostReplicas = { deployment: 1000, gateway: 100 };
const mostFactor = 10;

/** What makes sense for a subject as it is now. What it refuses all the same, control says why. */
export function actsFor(s: Subject): Wording[] {
  if (s.kind === 'endpoint') return endpointActs(s);
  if (s.kind === 'gateway' && s.stage !== undefined) return replicaActs(s);
  return workloadActs(s);
}

function endpointActs(s: Subject): Wording[] {
  if (s.stage === 'Draining' || s.stage === 'Gone') return [];
  const acts: Wording[] = [];
  const now = s.share === undefined ? '' : ` It has ${Math.round(s.share * 100)} % now.`;
  if (s.stage === 'Warming' || s.stage === 'Starting') {
    acts.push({ action: 'warmup.skip', text: 'Skip its warm-up', danger: true, will: () => `It gets its whole share at once, cold as it is.${now}` });
  }
  if (s.stage === 'Warming' && !s.paused) acts.push({ action: 'warmup.pause', text: 'Pause its warm-up', will: () => `Its share stays as it is until somebody resumes it.${now}` });
  if (s.paused) acts.push({ action: 'warmup.resume', text: 'Resume its warm-up', will: () => `Its share grows again from where it is, without a jump.${now}` });
  if (s.stage === 'Warming' || s.stage === 'Serving') {
    acts.push({ action: 'warmup.restart', text: 'Restart its warm-up', will: () => 'Its share falls to where a warm-up begins, and grows from there; others carry what it does not.' });
  }
  acts.push({
    action: 'weight', text: 'Set its weight',
    ask: { label: 'Multiply its weight by', hint: '1 is as configured; 0 drains it without stopping it; at most 10.', least: 0, most: mostFactor, step: 0.1, now: s.factor ?? 1 },
    will: (_, v) => weightWill(v),
  });
  return acts;
}

function weightWill(v: number): string {
  if (v === 0) return 'Nothing new is sent to it; what is open is finished. It goes on running.';
  if (v === 1) return 'It gets what configuration says, and nothing else.';
  return `It gets ${v} times what configuration says, for as long as this instance lives.`;
}

function replicaActs(s: Subject): Wording[] {
  switch (s.stage) {
    case 'serving':
      return [{ action: 'drain', text: 'Drain', danger: true, will: () => 'It tells its clients and load balancers that it goes, finishes what is open and ends. Its group’s other replicas serve on.' }];
    case 'draining':
      return [{ action: 'undrain', text: 'Undrain', will: () => 'It stays, and takes new requests again. Connections that it has told to go may go all the same.' }];
  }
  return [];
}

function workloadActs(s: Subject): Wording[] {
  const what = s.kind === 'gateway' ? 'replicas of the gateway' : 'instances';
  const least = s.kind === 'gateway' ? 1 : 0;
  const most = mostReplicas[s.kind === 'gateway' ? 'gateway' : 'deployment'];
  return [
    {
      action: 'scale', text: 'Scale',
      ask: { label: 'Replicas', hint: `${least} to ${most}. It holds until configuration says something new.`, least, most, step: 1, now: s.replicas ?? 1 },
      will: (_, v) => scaleWill(s, v),
    },
    { action: 'restart', text: 'Roll', will: () => `All its ${what} are replaced, as its rolling update says: new ones come and warm up, then old ones drain and go.` },
  ];
}

function scaleWill(s: Subject, v: number): string {
  if (s.replicas === undefined || v === s.replicas) return `There are to be ${v}.`;
  if (v === 0) return 'All of them drain and go. Whoever asks for its service finds nobody, unless others serve it.';
  const by = Math.abs(v - s.replicas);
  return v > s.replicas ? `${by} more ${by === 1 ? 'comes' : 'come'}, and ${by === 1 ? 'warms' : 'warm'} up before having a whole share.` : `${by} ${by === 1 ? 'drains and goes' : 'drain and go'}; nothing that is open is cut before its time.`;
}

/** What a subject is called in a dialog. */
export function titleOf(s: Subject): string {
  return `${s.namespace}/${s.name}`;
}
