import { useId, useState } from 'preact/hooks';
import { post } from '../call';
import { seconds } from '../format';
import { place } from '../router';
import { useOperates } from '../session';
import { useGet } from '../topics';
import { Refused } from '../ui/dialog';
import { Badge, Card, Empty, Loading, Notice, Segments } from '../ui/parts';
import { Table, type ColumnOf } from '../ui/table';
import { CurvePreview } from './CurvePreview';
import { Notes, NumberField, Origin, Switch } from './fields';
import { useKept } from './kept';
import { aggressionOf, type AppliedChange, type Check, type CurveName, type StartForm, type StartRow, type StartValues } from './model';
import { Review } from './Review';

const columns: ColumnOf<StartRow>[] = [
  { id: 'name', head: 'Application', sort: (r) => r.workload, cell: (r) => <a class="name" href={place(['settings', 'start', ...r.workload.split('/')])}>{r.workload.split('/')[1]}</a> },
  { id: 'namespace', head: 'Namespace', sort: (r) => r.workload, cell: (r) => <span class="quiet">{r.workload.split('/')[0]}</span>, wide: true },
  { id: 'kind', head: 'Runs as', sort: (r) => r.kind, cell: (r) => <span class="quiet">{r.kind === 'deployment' ? 'deployment' : 'instances with agents'}</span>, wide: true },
  { id: 'start', head: 'Graceful start', sort: (r) => Number(r.enabled), cell: (r) => <Badge tone={r.enabled ? 'good' : 'quiet'}>{r.enabled ? 'On' : 'Off'}</Badge> },
  { id: 'warmup', head: 'Warm-up', number: true, sort: (r) => r.warmup_s, cell: (r) => (r.enabled && r.warmup_s > 0 ? seconds(r.warmup_s) : <span class="zero">none</span>) },
];

/** Applications, and whether they start gracefully. */
export function StartList() {
  const { value, refusal } = useGet<{ workloads: StartRow[] | null }>('settings/start', undefined, 5000);
  if (!value) return <Card>{refusal ? <Refused refusal={refusal} /> : <Loading what="applications" />}</Card>;
  return (
    <Card title="Applications" flush>
      <Table label="Applications" rows={value.workloads ?? []} columns={columns} id={(r) => r.workload} order="name" empty={<Empty title="No application yet">Deployments, and applications with an agent beside them, are listed here.</Empty>} />
    </Card>
  );
}

/** How instances of one application come up. */
export function StartSettings({ workload }: { workload: string }) {
  const { value: form, refusal, again } = useGet<StartForm>('settings/start', { workload });
  if (!form) return <Card>{!refusal ? <Loading what="its settings" /> : refusal.status === 404 ? <Empty title="There is no such application">{refusal.message} <a href="/settings/start">All applications</a></Empty> : <Refused refusal={refusal} />}</Card>;
  return <Form key={form.digest + JSON.stringify(form.values)} form={form} again={again} />;
}

const curves = [['quadratic', 'Quadratic'], ['linear', 'Linear'], ['power', 'Power']] as const;
const scopes = [['own', 'Only this application'], ['document', 'All that share it']] as const;

function Form({ form, again }: { form: StartForm; again: () => void }) {
  const [v, setV] = useState(form.values);
  const [scope, setScope] = useState(form.scope);
  const [reviewing, review] = useState(false);
  const may = useOperates() && form.writable;
  const set = <K extends keyof StartValues>(name: K, value: StartValues[K]) => setV({ ...v, [name]: value });
  const fixed = (name: keyof StartValues): boolean => !may || form.from[name]?.fixed === true;
  const wrong = problems(v, form);
  const changed = JSON.stringify(v) !== JSON.stringify(form.values) || scope !== form.scope;
  useKept(changed);
  const body = { workload: form.workload, digest: form.digest, scope, values: v };
  return (
    <>
      {!form.writable && <Notice tone="warn">{form.why ?? 'It cannot be changed from here.'}</Notice>}
      <Notes of={form.notes} />
      <div class="settings-form">
        <form class="card settings-card" onSubmit={(e) => { e.preventDefault(); if (may && changed && !anyOf(wrong)) review(true); }} noValidate>
          <Switch label="Graceful start" on={v.enabled} set={(on) => set('enabled', on)} disabled={fixed('enabled')} from={form.from.enabled}>
            New instances register when they are ready, and are given requests along a curve. Off: they register as soon as they can serve, and have their whole share at once.
          </Switch>
          <fieldset disabled={!v.enabled}>
            <legend class="hidden">How instances start</legend>
            <NumberField
              label="Delayed registration duration" unit="s" value={v.delay_s} set={(n) => set('delay_s', n)} disabled={fixed('delay_s')} from={form.from.delay_s} wrong={wrong.delay_s}
              hint="How long an instance that can serve, and whose warm-up requests are over, waits before it registers. For applications that load in the background."
            />
            <Advanced form={form} v={v} setV={setV} may={may} wrong={wrong} />
          </fieldset>
          {form.shared.length > 0 && form.document && (
            <div class="scope">
              <p><b>Who it is for.</b> <span class="quiet">{`The Lifecycle ${form.document.name} holds for ${form.shared.map((s) => s.split('/')[1]).join(', ')}, too.`}</span></p>
              {may && <Segments label="Who it is for" value={scope} of={scopes} choose={(s) => setScope(s)} />}
            </div>
          )}
          <footer class="settings-foot">
            <Written form={form} scope={scope} />
            {may && (
              <div class="row">
                <button type="button" class="button" disabled={!changed} onClick={() => { setV(form.values); setScope(form.scope); }}>Take it back</button>
                <button type="submit" class="button primary" disabled={!changed || anyOf(wrong)}>Review the change…</button>
              </div>
            )}
          </footer>
        </form>
        <aside class="settings-aside">
          <Card title="What a new instance gets"><CurvePreview values={v} instead={form.instead} /></Card>
          {form.probe && <ProbeNote form={form} />}
        </aside>
      </div>
      {reviewing && (
        <Review
          title={`Graceful start of ${form.workload}`} close={() => review(false)}
          check={() => post<Check>('settings/start/check', body)} apply={() => post<AppliedChange>('settings/start/apply', body)}
          applied={() => { review(false); again(); }}
        />
      )}
    </>
  );
}

/** What most leave as it is: how long, along which curve, from where, and when it counts as ready. */
function Advanced({ form, v, setV, may, wrong }: { form: StartForm; v: StartValues; setV: (v: StartValues) => void; may: boolean; wrong: Wrong }) {
  const set = <K extends keyof StartValues>(name: K, value: StartValues[K]) => setV({ ...v, [name]: value });
  const fixed = (name: keyof StartValues): boolean => !may || form.from[name]?.fixed === true;
  return (
    <details class="advanced" open>
      <summary>Advanced options</summary>
      <div class="advanced-body">
        <NumberField label="Warm-up duration" unit="s" value={v.warmup_s} set={(n) => set('warmup_s', n)} disabled={fixed('warmup_s')} from={form.from.warmup_s} wrong={wrong.warmup_s} hint="From when it is offered to requests until its share is whole. 0 is no warm-up." />
        <div class="field">
          <span class="as-label" id="curve">Warm-up curve</span>
          <div class="row">
            {fixed('curve') ? <b>{v.curve}</b> : <Segments label="Warm-up curve" value={v.curve} of={curves} choose={(c: CurveName) => setV({ ...v, curve: c, aggression: aggressionOf({ ...v, curve: c }) })} />}
            <Origin of={form.from.curve} />
          </div>
          <span class="hint">{curveHint[v.curve]}</span>
        </div>
        {v.curve === 'power' && (
          <NumberField label="Aggression" value={v.aggression} set={(n) => set('aggression', n)} disabled={fixed('aggression')} from={form.from.aggression} wrong={wrong.aggression} step={0.1} hint="The share is progress to the power of 1/aggression: above 1 it is faster at first, below 1 slower." />
        )}
        <NumberField label="Least share" unit="%" value={v.minimum_percent} set={(n) => set('minimum_percent', n)} disabled={fixed('minimum_percent')} from={form.from.minimum_percent} wrong={wrong.minimum_percent} hint="What it has at first, however cold it is." />
        <Ready value={v.readiness} set={(r) => set('readiness', r)} form={form} disabled={fixed('readiness')} />
      </div>
    </details>
  );
}

const curveHint: Record<CurveName, string> = {
  quadratic: 'Slow at first: a quarter of the way through, 6 % of its share, half-way 25 %. What MSE does.',
  linear: 'As much in each second as in the last. What Istio does where nothing is said.',
  power: 'Any other: say how steep.',
};

type Wrong = Partial<Record<keyof StartValues, string>>;

function problems(v: StartValues, { limits }: StartForm): Wrong {
  const wrong: Wrong = {};
  const within = (name: 'delay_s' | 'warmup_s' | 'minimum_percent' | 'aggression', least: number, most: number) => {
    if (!(v[name] >= least && v[name] <= most)) wrong[name] = `It must be a number from ${least} to ${most}.`;
  };
  within('delay_s', 0, limits.time_s);
  within('warmup_s', 0, limits.time_s);
  within('minimum_percent', 0, 100);
  if (v.curve === 'power') within('aggression', limits.aggression_least, limits.aggression_most);
  return wrong;
}

const anyOf = (wrong: Wrong): boolean => Object.keys(wrong).length > 0;

function Ready({ value, set, form, disabled }: { value: StartValues['readiness']; set: (r: StartValues['readiness']) => void; form: StartForm; disabled: boolean }) {
  const name = useId();
  const choices = [
    ['registered', 'When it is registered', 'A rolling update goes on as soon as others can find it.'],
    ['warm', 'When it is warm', 'A rolling update waits until it carries its whole share.'],
  ] as const;
  return (
    <fieldset class="choices" disabled={disabled}>
      <legend>It is ready <Origin of={form.from.readiness} /></legend>
      {choices.map(([v, text, hint]) => (
        <label key={v}>
          <input type="radio" name={name} checked={value === v} onChange={() => set(v)} />
          <span>{text}<small class="hint">{hint}</small></span>
        </label>
      ))}
    </fieldset>
  );
}

function ProbeNote({ form }: { form: StartForm }) {
  const p = form.probe!;
  return (
    <Card title="Readiness probe">
      <p><code>{`${p.path} on port ${p.port}`}</code></p>
      <p class="quiet small">{p.note}</p>
      {p.file && <p class="faint small"><code>{p.line ? `${p.file}:${p.line}` : p.file}</code></p>}
    </Card>
  );
}

/** Where it is written. */
function Written({ form, scope }: { form: StartForm; scope: StartForm['scope'] }) {
  const d = form.document;
  const at = (file: string, source: string) => (source === 'etcd' ? 'etcd' : <code>{file}</code>);
  if (scope === 'document' && d) return <p class="quiet small">It changes the Lifecycle <a href={place(['settings', 'documents', d.id])}>{d.name}</a> in {at(`${d.file}:${d.line}`, d.source)}. It holds for starts after it.</p>;
  return <p class="quiet small">{form.target.new ? 'It makes' : 'It changes'} the Lifecycle <b>{form.target.name}</b> in {at(form.target.file, form.target.source)}. It holds for starts after it.</p>;
}
