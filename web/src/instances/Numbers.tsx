import { useState } from 'preact/hooks';
import { figure, stamp } from './format';
import type { Picture } from './picture';

/** The numbers of a picture as a table, for those who do not see it, and those who want to read them. It is made when it is opened. */
export function Numbers({ picture }: { picture: Picture }) {
  const [open, setOpen] = useState(false);
  const columns = picture.panels.flatMap((panel) => panel.traces.map((t) => ({ ...t, unit: panel.unit })));
  const known = picture.x.map((x, i) => ({ x, i })).filter(({ i }) => columns.some((c) => c.values[i] !== null));
  return (
    <details class="numbers" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>Numbers by second</summary>
      {open && (
        <div class="table dense" role="region" aria-label={`${picture.title}, numbers by second`} tabIndex={0}>
          <table>
            <thead><tr><th scope="col"><span>Time</span></th>{columns.map((c) => <th key={c.label} scope="col" class="number"><span>{c.label}</span></th>)}</tr></thead>
            <tbody>
              {known.map(({ x, i }) => (
                <tr key={x}>
                  <th scope="row">{stamp(x, picture.origin)}</th>
                  {columns.map((c) => {
                    const v = c.values[i];
                    return <td key={c.label} class="number">{v === null || v === undefined ? '–' : figure(c.unit, v)}</td>;
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}
