// Dialogs and notes that pass.

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { Refusal } from '../call';
import { Notice } from './parts';

/** A modal dialog: the browser's own, with its focus and its Escape. */
export function Dialog(p: { title: string; close(): void; wide?: boolean; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => before instanceof HTMLElement && before.focus();
  }, []);
  return (
    <dialog ref={dialog} class={p.wide ? 'wide' : ''} aria-labelledby={title} onClose={p.close} onClick={(e) => e.target === dialog.current && p.close()}>
      <div class="dialog">
        <h2 id={title}>{p.title}</h2>
        {p.children}
      </div>
    </dialog>
  );
}

/** Asks before something is done, does it, and stays with the reason if it was refused. */
export function Confirm(p: { title: string; verb: string; danger?: boolean; wide?: boolean; act(): Promise<unknown>; close(): void; done?: string; ready?: boolean; children: ComponentChildren }) {
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<Refusal>();
  const act = async () => {
    setBusy(true);
    try {
      await p.act();
      if (p.done) toast(p.done);
      p.close();
    } catch (e) {
      setRefused(e instanceof Refusal ? e : new Refusal(0, String(e)));
      setBusy(false);
    }
  };
  return (
    <Dialog title={p.title} close={p.close} wide={p.wide}>
      {p.children}
      {refused && <Refused refusal={refused} />}
      <footer>
        <button type="button" class="button" onClick={p.close}>Cancel</button>
        <button type="button" class={`button primary ${p.danger ? 'danger' : ''}`} disabled={busy || p.ready === false} onClick={() => void act()}>{busy ? 'One moment…' : p.verb}</button>
      </footer>
    </Dialog>
  );
}

/** What the server refused, in its own words. */
export function Refused(p: { refusal: Refusal }) {
  return (
    <Notice tone="bad" alert>
      {p.refusal.message}
      {p.refusal.suggestions.length > 0 && <ul>{p.refusal.suggestions.map((s) => <li key={s}>{s}</li>)}</ul>}
    </Notice>
  );
}

interface Note { id: number; text: string; tone: 'good' | 'bad' }

let notes: Note[] = [];
let show: (notes: Note[]) => void = () => undefined;
let numbers = 0;

/** Says something for some seconds, to screen readers as well. */
export function toast(text: string, tone: Note['tone'] = 'good'): void {
  const note = { id: ++numbers, text, tone };
  notes = [...notes.slice(-3), note];
  show(notes);
  setTimeout(() => {
    notes = notes.filter((n) => n !== note);
    show(notes);
  }, tone === 'bad' ? 12_000 : 6_000);
}

/** Where toasts appear; the shell has one. */
export function Toasts() {
  const [all, set] = useState(notes);
  show = set;
  return <div class="toasts" role="status" aria-live="polite">{all.map((n) => <div key={n.id} class={n.tone}>{n.text}</div>)}</div>;
}
