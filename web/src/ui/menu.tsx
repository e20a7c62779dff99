import { useId, useRef } from 'preact/hooks';
import { MoreIcon } from './icons';

export interface Choice { text: string; danger?: boolean; disabled?: boolean; choose(): void }

/** A button that opens a list of things to do: arrows walk through it, Escape closes it. */
export function Menu(p: { label: string; text?: string; of: Choice[] }) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const items = () => [...(list.current?.querySelectorAll<HTMLElement>('[role="menuitem"]:not(:disabled)') ?? [])];

  const toggled = (e: Event) => {
    if ((e as ToggleEvent).newState !== 'open' || !list.current || !button.current) return;
    const b = button.current.getBoundingClientRect();
    const l = list.current.getBoundingClientRect();
    const below = b.bottom + 4 + l.height < innerHeight;
    list.current.style.top = `${below ? b.bottom + 4 : Math.max(4, b.top - 4 - l.height)}px`;
    list.current.style.left = `${Math.max(4, Math.min(b.right - l.width, innerWidth - l.width - 4))}px`;
    items()[0]?.focus();
  };
  const key = (e: KeyboardEvent) => {
    const all = items();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 }[e.key];
    if (e.key === 'Tab') list.current?.hidePopover();
    if (to === undefined || all.length === 0) return;
    e.preventDefault();
    all[to % all.length]?.focus();
  };
  const choose = (c: Choice) => {
    list.current?.hidePopover();
    button.current?.focus();
    c.choose();
  };
  return (
    <span class="menu">
      <button ref={button} type="button" class={p.text ? 'button' : 'button plain icon small'} aria-haspopup="menu" aria-label={p.text ? undefined : p.label} popovertarget={id}>{p.text ?? <MoreIcon />}</button>
      <div ref={list} id={id} popover="auto" role="menu" aria-label={p.label} tabIndex={-1} onToggle={toggled} onKeyDown={key}>
        {p.of.map((c) => (
          <button key={c.text} type="button" role="menuitem" tabIndex={-1} class={c.danger ? 'danger' : ''} disabled={c.disabled} onClick={() => choose(c)}>{c.text}</button>
        ))}
      </div>
    </span>
  );
}
