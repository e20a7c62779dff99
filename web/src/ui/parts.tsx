// Small parts that views are made of. They have no state of their own beyond what they show.

import type { ComponentChildren } from 'preact';
import type { Stage, Verdict } from '../api';
import { AlertIcon, CheckIcon, InfoIcon, RunningIcon, UnknownIcon } from './icons';

export type Tone = 'quiet' | 'good' | 'warn' | 'bad' | 'away' | 'accent';

/** The head of a view: its title (an h1), what stands beside it, a line below it, and tools on the right. */
export function Head(p: { title: ComponentChildren; beside?: ComponentChildren; sub?: ComponentChildren; children?: ComponentChildren }) {
  return (
    <header class="head">
      <div class="title"><h1>{p.title}</h1>{p.beside}</div>
      {p.children && <div class="tools">{p.children}</div>}
      {p.sub && <p class="sub">{p.sub}</p>}
    </header>
  );
}

/** A titled piece of a view. flush: what is in it goes to the card's edges, as tables do. */
export function Card(p: { title?: ComponentChildren; beside?: ComponentChildren; tools?: ComponentChildren; flush?: boolean; children: ComponentChildren; class?: string }) {
  return (
    <section class={`card ${p.class ?? ''}`}>
      {p.title && <header><h2>{p.title}</h2>{p.beside}{p.tools && <div class="tools">{p.tools}</div>}</header>}
      <div class={p.flush ? 'flush' : 'body'}>{p.children}</div>
    </section>
  );
}

export function Badge(p: { tone?: Tone; title?: string; children: ComponentChildren }) {
  return <span class={`badge ${p.tone ?? 'quiet'}`} title={p.title}>{p.children}</span>;
}

const stageTones: Record<Stage, Tone> = { Starting: 'quiet', Warming: 'warn', Serving: 'good', Draining: 'away', Gone: 'quiet' };

/** Where an endpoint is in its life; who is ejected is that before all else. */
export function StageBadge(p: { stage: Stage; ejected?: boolean; killed?: boolean }) {
  if (p.ejected) return <Badge tone="bad">Ejected</Badge>;
  if (p.killed) return <Badge tone="bad">Killed</Badge>;
  return <Badge tone={stageTones[p.stage]}>{p.stage}</Badge>;
}

const verdicts: Record<Verdict, { tone: Tone; icon: () => ComponentChildren; text: string }> = {
  running: { tone: 'accent', icon: RunningIcon, text: 'Running' },
  stalled: { tone: 'warn', icon: AlertIcon, text: 'Stalled' },
  lossless: { tone: 'good', icon: CheckIcon, text: 'Lossless' },
  lossy: { tone: 'bad', icon: AlertIcon, text: 'Lossy' },
  unproven: { tone: 'warn', icon: UnknownIcon, text: 'Unproven' },
};

/** What a release has come to. One that is not over and has lost something already is as red as it will be in the end. */
export function VerdictBadge(p: { verdict: Verdict; why?: string; lost?: number }) {
  const { tone, icon: Icon, text } = verdicts[p.verdict];
  return <Badge tone={p.lost ? 'bad' : tone} title={p.why}><Icon />{text}</Badge>;
}

/** Whether a release is not over. */
export const goesOn = (v: Verdict): boolean => v === 'running' || v === 'stalled';

/** A sentence that asks for something. */
export function Notice(p: { tone?: Tone; children: ComponentChildren; alert?: boolean }) {
  return (
    <div class={`notice ${p.tone ?? 'quiet'}`} role={p.alert ? 'alert' : undefined}>
      {p.tone === 'bad' || p.tone === 'warn' ? <AlertIcon /> : p.tone === 'good' ? <CheckIcon /> : <InfoIcon />}
      <div>{p.children}</div>
    </div>
  );
}

/** What stands where there is nothing yet: what would be here, and how to get it. */
export function Empty(p: { title: string; children?: ComponentChildren }) {
  return <div class="empty"><b>{p.title}</b>{p.children}</div>;
}

/** What stands where something is being fetched. */
export function Loading(p: { what: string }) {
  return <div class="empty" role="status">{`Loading ${p.what}…`}</div>;
}

/** A row of figures: each a word, a number, and a note on it. */
export function Figures(p: { of: { name: string; value: ComponentChildren; note?: ComponentChildren; tone?: Tone }[]; label: string }) {
  return (
    <dl class="figures" aria-label={p.label}>
      {p.of.map((f) => (
        <div key={f.name}>
          <dt>{f.name}</dt>
          <dd class={f.tone}>{f.value}{f.note && <div class="note">{f.note}</div>}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Words and what they come to, in two columns. */
export function Facts(p: { of: ([string, ComponentChildren] | undefined | false)[] }) {
  return <dl class="facts">{p.of.map((f) => f && <><dt>{f[0]}</dt><dd>{f[1]}</dd></>)}</dl>;
}

/** A choice of a few, of which one holds. */
export function Segments<T extends string>(p: { label: string; value: T; of: readonly (readonly [T, string])[]; choose(value: T): void }) {
  return (
    <div class="segments" role="group" aria-label={p.label}>
      {p.of.map(([value, text]) => (
        <button key={value} type="button" aria-pressed={value === p.value} onClick={() => p.choose(value)}>{text}</button>
      ))}
    </div>
  );
}

/** Parts of a view that have addresses of their own. */
export function Tabs(p: { label: string; of: { to: string; text: ComponentChildren; here: boolean }[] }) {
  return (
    <nav class="tabs" aria-label={p.label}>
      {p.of.map((t) => <a key={t.to} href={t.to} aria-current={t.here ? 'page' : undefined}>{t.text}</a>)}
    </nav>
  );
}

/** A share, 0..1, as a bar with its number. */
export function Share(p: { part: number; tone?: string }) {
  return (
    <span class="nowrap">
      <span class="sharebar" style={{ color: `var(${p.tone ?? '--serving'})` }}><i style={{ width: `${Math.min(1, Math.max(0, p.part)) * 100}%` }} /></span>
      {' '}{Math.round(p.part * 100)}&#8239;%
    </span>
  );
}
