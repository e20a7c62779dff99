import type { ComponentChildren } from 'preact';
import { useId, useState } from 'preact/hooks';
import { Notice } from '../ui/parts';
import type { From } from './model';

/** Where a value comes from: a file and line, a label, or that nobody has said anything. */
export function Origin({ of }: { of: From | undefined }) {
  if (!of) return null;
  const where = of.file ? (of.line ? `${of.file}:${of.line}` : of.file) : '';
  if (of.from === 'default' || of.from === 'none') return <span class="origin" title={of.text}>default</span>;
  return <span class={of.fixed ? 'origin fixed' : 'origin'} title={of.text}>{of.fixed ? 'fixed by ' : ''}{of.from}{where && <> <code>{where}</code></>}</span>;
}

/** A number with its unit, its origin, and what is wrong with it. What is typed is kept as it is typed. */
export function NumberField({ label, unit, value, set, from, hint, wrong, disabled, step = 1 }: {
  label: string;
  unit?: string;
  value: number;
  set: (n: number) => void;
  from?: From;
  hint?: string;
  wrong?: string;
  disabled?: boolean;
  step?: number;
}) {
  const id = useId();
  const [text, setText] = useState(String(value));
  const shown = Number(text) === value || Number.isNaN(value) ? text : String(value);
  return (
    <div class="field">
      <label for={id}>{label}{unit && <span class="quiet">{` (${unit})`}</span>}</label>
      <div class="with-unit">
        <input
          id={id} class="settings-number" type="number" inputMode={step === 1 ? 'numeric' : 'decimal'} min={0} step={step === 1 ? 'any' : step} value={shown} disabled={disabled}
          aria-invalid={wrong ? true : undefined} aria-describedby={`${id}-hint`}
          onInput={(e) => {
            const typed = e.currentTarget.value;
            setText(typed);
            set(typed.trim() === '' ? NaN : Number(typed));
          }}
        />
        <Origin of={from} />
      </div>
      <span id={`${id}-hint`} class={wrong ? 'error' : 'hint'}>{wrong ?? hint}{from?.fixed && from.text && ` ${from.text}`}</span>
    </div>
  );
}

/** Something that is on or off. */
export function Switch({ label, on, set, from, disabled, children }: { label: string; on: boolean; set: (on: boolean) => void; from?: From; disabled?: boolean; children?: ComponentChildren }) {
  const id = useId();
  return (
    <div class="switch-field">
      <input id={id} class="switch" type="checkbox" role="switch" checked={on} disabled={disabled} aria-describedby={`${id}-hint`} onChange={(e) => set(e.currentTarget.checked)} />
      <div>
        <div class="row"><label for={id}>{label}</label><Origin of={from} /></div>
        <p id={`${id}-hint`} class="hint">{children}{from?.fixed && from.text && ` ${from.text}`}</p>
      </div>
    </div>
  );
}

/** What is worth knowing about a form before it is filled in. */
export function Notes({ of }: { of: readonly string[] | null }) {
  if (!of || of.length === 0) return null;
  return <Notice>{of.length === 1 ? of[0] : <ul class="notes">{of.map((n) => <li key={n}>{n}</li>)}</ul>}</Notice>;
}
