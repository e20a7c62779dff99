// Tables: real ones, that sort by their heads, and of which only the rows in sight are made.

import type { ComponentChildren, VNode } from 'preact';
import { memo } from 'preact/compat';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { DownIcon, UpIcon } from './icons';

export interface ColumnOf<Row> {
  id: string;
  head: ComponentChildren;
  cell(row: Row): ComponentChildren;
  /** What rows are sorted by; without it, they are not sorted by this column. Numbers begin with the greatest. */
  sort?(row: Row): string | number;
  number?: boolean;
  /** Left out on a phone. */
  wide?: boolean;
  class?: string;
}

export interface TableProps<Row> {
  label: string;
  rows: readonly Row[];
  columns: readonly ColumnOf<Row>[]; // the same array from one time to the next: rows are made anew when it changes
  id(row: Row): string;
  /** The column by which rows are sorted at first; "" leaves them as they come. A minus before it turns it around. */
  order?: string;
  chosen?: string;
  dense?: boolean;
  empty?: ComponentChildren;
}

const several = 80; // rows up to which all are made

export function Table<Row>(p: TableProps<Row>) {
  const [order, setOrder] = useState(p.order ?? '');
  const rows = useMemo(() => sorted(p.rows, p.columns, order), [p.rows, p.columns, order]);
  const body = useRef<HTMLTableSectionElement>(null);
  const height = p.dense ? 34 : 41;
  const [from, to] = useWindow(body, rows.length, height);
  if (rows.length === 0 && p.empty) return <>{p.empty}</>;
  return (
    <div class={`table ${p.dense ? 'dense' : ''}`} role="region" aria-label={p.label} tabIndex={0}>
      <table aria-rowcount={rows.length + 1}>
        <thead>
          <tr>{p.columns.map((c) => <HeadCell key={c.id} column={c} order={order} turn={setOrder} />)}</tr>
        </thead>
        <tbody ref={body}>
          {from > 0 && <Space rows={from} height={height} span={p.columns.length} />}
          {rows.slice(from, to).map((row, i) => {
            const id = p.id(row);
            return <RowOf key={id} row={row} index={from + i + 2} columns={p.columns as readonly ColumnOf<unknown>[]} chosen={id === p.chosen} />;
          })}
          {to < rows.length && <Space rows={rows.length - to} height={height} span={p.columns.length} />}
        </tbody>
      </table>
    </div>
  );
}

const RowOf = memo(function RowOf(p: { row: unknown; index: number; columns: readonly ColumnOf<unknown>[]; chosen: boolean }): VNode {
  return (
    <tr class={p.chosen ? 'chosen' : undefined} aria-rowindex={p.index} aria-current={p.chosen ? 'true' : undefined}>
      {p.columns.map((c) => <td key={c.id} class={classOf(c)}>{c.cell(p.row)}</td>)}
    </tr>
  );
});

function classOf<Row>(c: ColumnOf<Row>): string | undefined {
  return [c.number && 'number', c.wide && 'wide', c.class].filter(Boolean).join(' ') || undefined;
}

function Space(p: { rows: number; height: number; span: number }) {
  return <tr class="space" aria-hidden="true"><td colSpan={p.span} style={{ height: `${p.rows * p.height}px` }} /></tr>;
}

function HeadCell<Row>({ column: c, order, turn }: { column: ColumnOf<Row>; order: string; turn(order: string): void }) {
  const up = order === c.id;
  const down = order === `-${c.id}`;
  if (!c.sort) return <th scope="col" class={classOf(c)}><span>{c.head}</span></th>;
  return (
    <th scope="col" class={classOf(c)} aria-sort={up ? 'ascending' : down ? 'descending' : undefined}>
      <button type="button" onClick={() => turn(up ? `-${c.id}` : down ? c.id : c.number ? `-${c.id}` : c.id)}>
        {c.head}{up && <UpIcon />}{down && <DownIcon />}
      </button>
    </th>
  );
}

function sorted<Row>(rows: readonly Row[], columns: readonly ColumnOf<Row>[], order: string): readonly Row[] {
  const down = order.startsWith('-');
  const by = columns.find((c) => c.id === (down ? order.slice(1) : order))?.sort;
  if (!by) return rows;
  const sign = down ? -1 : 1;
  return rows.map((row) => ({ row, at: by(row) })).sort((a, b) => sign * compare(a.at, b.at)).map(({ row }) => row);
}

function compare(a: string | number, b: string | number): number {
  return typeof a === 'string' ? a.localeCompare(String(b), 'en', { numeric: true }) : a - Number(b);
}

/** Which rows are in sight, with some before and after, of a table that scrolls with the page. */
function useWindow(body: { current: HTMLElement | null }, rows: number, height: number): [number, number] {
  const [at, set] = useState(0);
  const all = rows <= several;
  useEffect(() => {
    if (all) return;
    let frame = 0;
    const look = () => {
      frame = 0;
      const top = body.current?.getBoundingClientRect().top ?? 0;
      set(Math.max(0, Math.floor(-top / height / 10) * 10));
    };
    const soon = () => void (frame ||= requestAnimationFrame(look));
    addEventListener('scroll', soon, { passive: true, capture: true });
    addEventListener('resize', soon);
    look();
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener('scroll', soon, { capture: true });
      removeEventListener('resize', soon);
    };
  }, [all, height]);
  if (all) return [0, rows];
  const from = Math.max(0, Math.min(at - 10, rows - 1));
  return [from, Math.min(rows, at + Math.ceil(innerHeight / height) + 20)];
}
