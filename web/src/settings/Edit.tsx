import { useEffect, useId, useState } from 'preact/hooks';
import { Refusal, post } from '../call';
import { go, place } from '../router';
import { useOperates } from '../session';
import { useGet } from '../topics';
import { Refused } from '../ui/dialog';
import { Card, Empty, Loading, Notice } from '../ui/parts';
import { kinds } from './Documents';
import { Editor } from './Editor';
import { Findings } from './Findings';
import { useKept } from './kept';
import type { AppliedChange, Check, DocumentBody, DocumentList, SettingsFinding, Template } from './model';
import { Review } from './Review';

const pause = 500; // ms without a key, after which the text is checked

/** One document: its text, and what is wrong with it as it is typed. */
export function Edit({ id }: { id: string }) {
  const [mine, keep] = useState<string>(); // a text that was begun on an older one
  const { value: d, refusal, again } = useGet<DocumentBody>(`documents/${encodeURIComponent(id)}`);
  if (!d) return <Card>{!refusal ? <Loading what="the document" /> : refusal.status === 404 ? <Empty title="There is no such document"><a href="/settings/documents">All documents</a></Empty> : <Refused refusal={refusal} />}</Card>;
  return <Written key={d.digest} d={d} mine={mine} again={(text) => { keep(text); again(); }} />;
}

/** again reads the document anew; a text given goes on over what is there then. */
function Written({ d, mine, again }: { d: DocumentBody; mine: string | undefined; again: (mine?: string) => void }) {
  const operates = useOperates();
  const [text, setText] = useState(mine ?? d.yaml);
  const [reviewing, review] = useState<'' | 'apply' | 'delete'>('');
  const changed = text !== d.yaml;
  useKept(changed);
  const may = operates && d.writable;
  const check = useCheck(may && changed ? { id: d.id, yaml: text, digest: d.digest } : undefined);
  const [focus, setFocus] = useState<{ line: number; turn: number }>();
  const findings = check?.findings ?? [];
  return (
    <>
      <Card
        title={<><span class="faint">{d.kind}</span> {d.name}</>}
        beside={<span class="faint small">{d.source === 'etcd' ? 'in etcd' : <code>{`${d.file}:${d.line}`}</code>}{d.namespace && ` · ${d.namespace}`}</span>}
        tools={<a class="button" href="/settings/documents">All documents</a>}
      >
        {d.hidden ? <Notice>What it holds is secret, and is not shown here.</Notice> : (
          <div class="stack">
            {!d.writable && <Notice>{d.why ?? 'It can be read here, not changed.'}</Notice>}
            <Editor label={`${d.kind} ${d.name}`} text={text} set={setText} first={Math.max(1, d.line)} findings={findings.filter((f) => f.here)} focus={focus} readOnly={!may} />
            {check?.conflict ? <Conflict mine={() => again(text)} theirs={() => again()} /> : <Said check={check} changed={changed} to={(line) => setFocus({ line, turn: (focus?.turn ?? 0) + 1 })} />}
            {may && (
              <div class="row editor-tools">
                <button type="button" class="button primary" disabled={!changed || check?.conflict} onClick={() => review('apply')}>Review the change…</button>
                <button type="button" class="button" disabled={!changed} onClick={() => setText(d.yaml)}>Take it back</button>
                <button type="button" class="button danger editor-delete" onClick={() => review('delete')}>Delete…</button>
              </div>
            )}
          </div>
        )}
      </Card>
      {reviewing === 'apply' && (
        <Review
          title={`Change ${d.kind} ${d.name}`} close={() => review('')}
          check={() => post<Check>('documents/check', { id: d.id, yaml: text, digest: d.digest })}
          apply={(digest) => post<AppliedChange>('documents/apply', { id: d.id, yaml: text, digest })}
          applied={() => { review(''); again(); }}
        />
      )}
      {reviewing === 'delete' && (
        <Review
          title={`Delete ${d.kind} ${d.name}`} verb="Delete" danger close={() => review('')}
          check={() => post<Check>('documents/delete/check', { id: d.id, digest: d.digest })}
          apply={(digest) => post<AppliedChange>('documents/delete', { id: d.id, digest })}
          applied={() => go('/settings/documents')}
        />
      )}
    </>
  );
}

/** Somebody else has changed the document while it was edited here: nothing of either is lost unasked. */
function Conflict({ mine, theirs }: { mine: () => void; theirs: () => void }) {
  return (
    <div class="stack">
      <Notice tone="warn" alert>Somebody has changed this document since you opened it. Go on with your text, and the review will show what it changes of theirs; or drop yours.</Notice>
      <div class="row">
        <button type="button" class="button" onClick={mine}>Go on with mine</button>
        <button type="button" class="button" onClick={theirs}>Show theirs</button>
      </div>
    </div>
  );
}

/** What the check of a text says, while it is typed. */
function Said({ check, changed, to }: { check: Check | undefined; changed: boolean; to: (line: number) => void }) {
  const here = (check?.findings ?? []).filter((f) => f.here);
  const elsewhere = (check?.findings ?? []).filter((f) => !f.here && f.severity === 'error');
  return (
    <div class="editor-said" role="status">
      {!changed ? <span class="faint">Unchanged.</span> : !check ? <span class="faint">Checking…</span> : check.ok && here.length === 0 ? <span class="good">Nothing is wrong with it.</span> : null}
      {changed && here.length > 0 && <Findings of={here} to={to} />}
      {changed && elsewhere.length > 0 && <><b>Elsewhere</b><Findings of={elsewhere} /></>}
    </div>
  );
}

/** A document that is not there yet, from a template. */
export function New({ kind }: { kind?: string }) {
  const { value, refusal } = useGet<{ templates: Template[] }>('templates');
  const { value: all } = useGet<DocumentList>('documents');
  if (!value) return <Card>{refusal ? <Refused refusal={refusal} /> : <Loading what="templates" />}</Card>;
  const of = value.templates.filter((t) => !kind || t.kind === kind);
  return <Fresh key={kind} templates={of.length > 0 ? of : value.templates} all={value.templates} documents={all} />;
}

function Fresh({ templates, all, documents }: { templates: Template[]; all: Template[]; documents: DocumentList | undefined }) {
  const [chosen, choose] = useState(templates[0]);
  const [text, setText] = useState(templates[0]?.yaml ?? '');
  const [file, setFile] = useState('');
  const [etcd, setEtcd] = useState(false);
  const [reviewing, review] = useState(false);
  const [focus, setFocus] = useState<{ line: number; turn: number }>();
  const may = useOperates();
  useKept(text !== (chosen?.yaml ?? ''));
  const body = { yaml: text, ...(etcd ? { source: 'etcd' } : file.trim() ? { file: file.trim() } : {}) };
  const check = useCheck(may ? body : undefined);
  const names = useId();
  const take = (t: Template) => {
    choose(t);
    setText(t.yaml);
  };
  const files = [...new Set((documents?.documents ?? []).map((d) => d.file).filter(Boolean))];
  return (
    <div class="new">
      <Templates all={all} chosen={chosen} take={take} />
      <Card title={chosen ? <>{chosen.kind} <span class="faint">{chosen.title}</span></> : 'New document'} tools={<a class="button" href="/settings/documents">All documents</a>}>
        <div class="stack">
          <Editor label="The new document" text={text} set={setText} findings={(check?.findings ?? []).filter((f) => f.here)} focus={focus} readOnly={!may} first={firstLine(check)} />
          <Said check={check} changed to={(line) => setFocus({ line, turn: (focus?.turn ?? 0) + 1 })} />
          <div class="row">
            <div class="field new-file">
              <label for={names}>File</label>
              <input id={names} type="text" list={`${names}-list`} value={file} disabled={etcd} placeholder={check?.file || 'by its kind and name'} onInput={(e) => setFile(e.currentTarget.value)} />
              <datalist id={`${names}-list`}>{files.map((f) => <option key={f} value={f} />)}</datalist>
              <span class="hint">In the configuration directory. It is added to a file that is there.</span>
            </div>
            {documents?.etcd && chosen?.kind === 'Lifecycle' && (
              <label class="field inline"><input type="checkbox" checked={etcd} onChange={(e) => setEtcd(e.currentTarget.checked)} /> Put it into etcd</label>
            )}
          </div>
          {may && <div class="row"><button type="button" class="button primary" disabled={!text.trim()} onClick={() => review(true)}>Review…</button></div>}
        </div>
      </Card>
      {reviewing && (
        <Review
          title={`New ${chosen?.kind ?? 'document'}`} verb="Create" close={() => review(false)}
          check={() => post<Check>('documents/check', body)} apply={() => post<AppliedChange>('documents/apply', body)}
          applied={(a) => go(place(['settings', 'documents', a.id]))}
        />
      )}
    </div>
  );
}

/** What to begin with, by kind. */
function Templates({ all, chosen, take }: { all: Template[]; chosen: Template | undefined; take: (t: Template) => void }) {
  return (
    <nav class="card new-templates" aria-label="Templates">
      {[...new Set([...kinds, ...all.map((t) => t.kind)])].map((k) => {
        const of = all.filter((t) => t.kind === k);
        return of.length > 0 && (
          <section key={k}>
            <h2>{k}</h2>
            <ul>{of.map((t) => <li key={t.title}><button type="button" aria-pressed={chosen?.kind === t.kind && chosen.title === t.title} onClick={() => take(t)}>{t.title}</button></li>)}</ul>
          </section>
        );
      })}
    </nav>
  );
}

/** The number in its file of a new document's first line: findings speak of lines of the file. */
function firstLine(check: Check | undefined): number {
  return Math.max(1, check?.line ?? 1);
}

/** Checks a body some time after it has changed; undefined while it does. */
function useCheck(body: object | undefined): Check | undefined {
  const [said, say] = useState<{ of: string; check: Check }>();
  const what = body && JSON.stringify(body);
  useEffect(() => {
    if (what === undefined) return;
    let over = false;
    const timer = setTimeout(() => {
      post<Check>('documents/check', JSON.parse(what)).then(
        (check) => over || say({ of: what, check }),
        (e: unknown) => over || say({ of: what, check: refusedCheck(e) }),
      );
    }, pause);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [what]);
  return said && said.of === what ? said.check : undefined;
}

/** A check that was refused, as a finding: a body that is no YAML at all, a digest that is not the newest. */
function refusedCheck(e: unknown): Check {
  const finding: SettingsFinding = { severity: 'error', message: e instanceof Error ? e.message : String(e), here: true };
  return { ok: false, changed: true, findings: [finding], diff: '', effects: [], file: '', line: 1, digest: '', id: '', conflict: e instanceof Refusal && e.status === 409 };
}
