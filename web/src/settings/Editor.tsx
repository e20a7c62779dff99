import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import type { SettingsFinding } from './model';

/**
 * YAML with line numbers, and a sign at each line that something is wrong with. It is a text area, as browsers have it: Tab leaves it,
 * undo and spelling and screen readers are the browser's own.
 */
export function Editor({ label, text, set, first = 1, findings, focus, readOnly }: {
  label: string;
  text: string;
  set: (text: string) => void;
  first?: number; // the number of its first line
  findings: readonly SettingsFinding[];
  focus?: { line: number; turn: number }; // a line to go to; another turn goes there again
  readOnly?: boolean;
}) {
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const told = useId();
  const lines = text.split('\n').length;
  const at = new Map(findings.filter((f) => f.line).map((f) => [f.line!, f]));
  useLayoutEffect(() => {
    const el = area.current;
    if (!el || !focus) return;
    const line = focus.line - first;
    const before = text.split('\n').slice(0, line);
    const from = before.reduce((n, l) => n + l.length + 1, 0);
    el.focus();
    el.setSelectionRange(from, from + (text.split('\n')[line]?.length ?? 0));
    el.scrollTop = Math.max(0, (line - 4) * 19);
  }, [focus]);
  return (
    <div class="editor">
      <div class="editor-gutter" ref={gutter} aria-hidden="true">
        {Array.from({ length: lines }, (_, i) => {
          const f = at.get(first + i);
          return <span key={i} class={f ? (f.severity === 'error' ? 'bad' : 'warn') : ''} title={f?.message}>{f ? '● ' : ''}{first + i}</span>;
        })}
      </div>
      <textarea
        ref={area} aria-label={label} aria-describedby={told} aria-invalid={findings.some((f) => f.severity === 'error') || undefined}
        spellcheck={false} autocapitalize="off" autocomplete="off" wrap="off" rows={Math.min(34, Math.max(14, lines + 1))} readOnly={readOnly} value={text}
        onInput={(e) => set(e.currentTarget.value)} onScroll={(e) => { if (gutter.current) gutter.current.scrollTop = e.currentTarget.scrollTop; }}
      />
      <p id={told} class="hidden">{`YAML, ${lines} lines. What is wrong with it is listed below, by line.`}</p>
    </div>
  );
}
