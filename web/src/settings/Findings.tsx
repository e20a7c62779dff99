import { AlertIcon, InfoIcon } from '../ui/icons';
import type { SettingsFinding } from './model';

/** What is wrong, or worth knowing, with the place where it stands. `to` leads to a line of the text that is edited. */
export function Findings({ of, to }: { of: readonly SettingsFinding[]; to?: (line: number) => void }) {
  return (
    <ul class="findings">
      {of.map((f, i) => (
        <li key={i} class={f.severity === 'error' ? 'bad' : 'warn'}>
          {f.severity === 'error' ? <AlertIcon /> : <InfoIcon />}
          <div>
            <span class="hidden">{f.severity === 'error' ? 'Error: ' : 'Warning: '}</span>
            {f.message}
            <div class="finding-where">
              {f.line !== undefined && f.line > 0 && to && f.here ? (
                <button type="button" class="link" onClick={() => to(f.line!)}>{`${f.file ?? 'here'}:${f.line}`}</button>
              ) : (
                f.file && <span>{f.line ? `${f.file}:${f.line}` : f.file}</span>
              )}
              {f.field && <code>{f.field}</code>}
              {f.object && !f.here && <span>{f.object}</span>}
            </div>
          </div>
        </li>
      ))}
    </ul>
  );
}
