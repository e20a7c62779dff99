import { useEffect, useState } from 'preact/hooks';
import { Refusal } from '../call';
import { Dialog, Refused, toast } from '../ui/dialog';
import { Loading, Notice } from '../ui/parts';
import { readDiff, sumDiff, type DiffLine } from './diff';
import { Findings } from './Findings';
import type { AppliedChange, Check } from './model';

/** What a change comes to, before it is made: what will be different, what is wrong with it, and the text that changes. */
export function Review({ title, verb = 'Apply', danger, check, apply, close, applied }: {
  title: string;
  verb?: string;
  danger?: boolean;
  check: () => Promise<Check>;
  apply: (digest: string) => Promise<AppliedChange>;
  close: () => void;
  applied: (a: AppliedChange) => void;
}) {
  const [said, setSaid] = useState<Check>();
  const [refused, setRefused] = useState<Refusal>();
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    check().then(setSaid, (e: unknown) => setRefused(asRefusal(e)));
  }, []);
  const act = async (digest: string) => {
    setBusy(true);
    setRefused(undefined);
    try {
      const a = await apply(digest);
      toast(a.changed ? `Applied: ${a.file ? `${a.file}${a.line ? `:${a.line}` : ''}` : a.id}` : 'It was so already.');
      applied(a);
    } catch (e) {
      setRefused(asRefusal(e));
      setBusy(false);
    }
  };
  const ready = said?.ok === true && said.changed && !busy;
  return (
    <Dialog title={title} close={close} wide>
      {!said && !refused && <Loading what="what it will change" />}
      {said && <What check={said} />}
      {refused && <Refused refusal={refused} />}
      {refused?.status === 409 && <Notice tone="warn">Somebody has changed it since you opened it. Close this, load it again, and make your change once more.</Notice>}
      <footer>
        <button type="button" class="button" onClick={close}>Cancel</button>
        <button type="button" class={`button primary ${danger ? 'danger' : ''}`} disabled={!ready} onClick={() => said && void act(said.digest)}>{busy ? 'One moment…' : verb}</button>
      </footer>
    </Dialog>
  );
}

export function asRefusal(e: unknown): Refusal {
  return e instanceof Refusal ? e : new Refusal(0, String(e));
}

function What({ check }: { check: Check }) {
  const lines = readDiff(check.diff);
  const here = check.findings.filter((f) => f.here);
  const elsewhere = check.findings.filter((f) => !f.here);
  return (
    <>
      {!check.changed && <Notice>It is so already: nothing would change.</Notice>}
      {!check.ok && <Notice tone="bad">It cannot be applied as it is.</Notice>}
      {(check.effects ?? []).length > 0 && (
        <section aria-label="What will change">
          <h3>What will change</h3>
          <ul class="effects">{check.effects.map((e) => <li key={e}>{e}</li>)}</ul>
        </section>
      )}
      {here.length > 0 && <section aria-label="Findings"><h3>Findings</h3><Findings of={here} /></section>}
      {elsewhere.length > 0 && (
        <details class="elsewhere" open={!check.ok && here.length === 0}>
          <summary>{`${elsewhere.length} ${elsewhere.length === 1 ? 'finding' : 'findings'} elsewhere in the configuration`}</summary>
          <Findings of={elsewhere} />
        </details>
      )}
      {lines.length > 0 && (
        <section aria-label="Difference">
          <h3>{check.file || 'etcd'} <span class="faint small">{sumDiff(lines)}</span></h3>
          <Diff lines={lines} />
        </section>
      )}
    </>
  );
}

const signs: Record<DiffLine['kind'], string> = { same: ' ', gone: '−', new: '+', place: ' ' };
const said: Record<DiffLine['kind'], string> = { same: '', gone: 'removed: ', new: 'added: ', place: '' };

/** A unified diff, with its line numbers; what came and went is said by a sign and heard as a word, not by colour alone. */
export function Diff({ lines }: { lines: readonly DiffLine[] }) {
  return (
    <div class="diff" role="region" aria-label="Difference, line by line" tabIndex={0}>
      <table>
        <tbody>
          {lines.map((l, i) => (
            <tr key={i} class={`diff-${l.kind}`}>
              <td class="diff-n" aria-hidden="true">{l.kind === 'place' || !l.before ? '' : l.before}</td>
              <td class="diff-n" aria-hidden="true">{l.kind === 'place' || !l.after ? '' : l.after}</td>
              <td class="diff-sign" aria-hidden="true">{signs[l.kind]}</td>
              <td class="diff-text"><span class="hidden">{said[l.kind]}</span>{l.text || ' '}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
