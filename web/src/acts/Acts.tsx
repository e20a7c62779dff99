import { useId, useState } from 'preact/hooks';
import type { Act } from '../api';
import { post } from '../call';
import { useOperates } from '../session';
import { Confirm } from '../ui/dialog';
import { Menu } from '../ui/menu';
import { actsFor, titleOf, type Subject, type Wording } from './words';
import './acts.css';

/** A menu of what can be done to something, for who may: each is confirmed, posted, and told. */
export function Acts({ of: s }: { of: Subject }) {
  const operates = useOperates();
  const [chosen, choose] = useState<Wording>();
  const acts = operates ? actsFor(s) : [];
  if (acts.length === 0 && !chosen) return null;
  return (
    <>
      <Menu label={`Act on ${s.name}`} of={acts.map((a) => ({ text: a.ask ? `${a.text}…` : a.text, danger: a.danger, choose: () => choose(a) }))} />
      {chosen && <Sure of={s} act={chosen} close={() => choose(undefined)} />}
    </>
  );
}

/** Says what will happen, asks for a number where there is one, and does it. */
function Sure({ of: s, act, close }: { of: Subject; act: Wording; close: () => void }) {
  const [text, setText] = useState(String(act.ask?.now ?? ''));
  const value = Number(text);
  const wrong = act.ask && problem(act.ask, text);
  const body: Act = { action: act.action, kind: s.kind, namespace: s.namespace, name: s.name, ...(act.ask ? { value } : {}) };
  return (
    <Confirm
      title={`${act.text}: ${titleOf(s)}`} verb={act.text} danger={act.danger} close={close} ready={!wrong}
      act={() => post('act', body)} done={`${act.text}: ${titleOf(s)} was told.`}
    >
      {act.ask && <Number_ ask={act.ask} text={text} set={setText} wrong={wrong} />}
      <p class="act-will">{wrong ? ' ' : act.will(s, value)}</p>
      <p class="faint small">It is written to the event log, with your name.</p>
    </Confirm>
  );
}

function Number_({ ask, text, set, wrong }: { ask: NonNullable<Wording['ask']>; text: string; set: (t: string) => void; wrong: string | undefined }) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{ask.label}</label>
      <input id={id} class="act-number" type="number" min={ask.least} max={ask.most} step={ask.step} value={text} aria-invalid={wrong ? true : undefined} aria-describedby={`${id}-hint`} onInput={(e) => set(e.currentTarget.value)} />
      <span id={`${id}-hint`} class={wrong ? 'error' : 'hint'}>{wrong ?? ask.hint}</span>
    </div>
  );
}

function problem(ask: NonNullable<Wording['ask']>, text: string): string | undefined {
  const v = Number(text);
  if (text.trim() === '' || !Number.isFinite(v)) return 'Give a number.';
  if (v < ask.least || v > ask.most) return `It must be ${ask.least} to ${ask.most}.`;
  if (ask.step === 1 && !Number.isInteger(v)) return 'It must be a whole number.';
  return undefined;
}
