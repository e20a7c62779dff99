import { useState } from 'preact/hooks';
import { post } from '../call';
import { seconds } from '../format';
import { place } from '../router';
import { useOperates } from '../session';
import { useGet } from '../topics';
import { Refused } from '../ui/dialog';
import { Badge, Card, Empty, Loading, Notice } from '../ui/parts';
import { Table, type ColumnOf } from '../ui/table';
import { Notes, NumberField, Switch } from './fields';
import { useKept } from './kept';
import type { AppliedChange, Check, GatewayForm, GatewayListRow, GatewayValues } from './model';
import { Review } from './Review';

const columns: ColumnOf<GatewayListRow>[] = [
  { id: 'name', head: 'Gateway', sort: (r) => r.gateway, cell: (r) => <a class="name" href={place(['settings', 'gateway', ...r.gateway.split('/')])}>{r.gateway.split('/')[1]}</a> },
  { id: 'namespace', head: 'Namespace', cell: (r) => <span class="quiet">{r.gateway.split('/')[0]}</span>, wide: true },
  { id: 'shutdown', head: 'Graceful shutdown', sort: (r) => Number(r.graceful_shutdown), cell: (r) => <Badge tone={r.graceful_shutdown ? 'good' : 'quiet'}>{r.graceful_shutdown ? 'On' : 'Off'}</Badge> },
  { id: 'timeout', head: 'Connection timeout', number: true, sort: (r) => r.timeout_s, cell: (r) => (r.graceful_shutdown ? seconds(r.timeout_s) : <span class="zero">–</span>) },
  { id: 'replicas', head: 'Replicas', number: true, sort: (r) => r.replicas, cell: (r) => r.replicas },
];

/** Gateways, and how they shut down. */
export function GatewayList() {
  const { value, refusal } = useGet<{ gateways: GatewayListRow[] | null }>('settings/gateway', undefined, 5000);
  if (!value) return <Card>{refusal ? <Refused refusal={refusal} /> : <Loading what="gateways" />}</Card>;
  return (
    <Card title="Gateways" flush>
      <Table label="Gateways" rows={value.gateways ?? []} columns={columns} id={(r) => r.gateway} order="name" empty={<Empty title="No gateway is configured">An <code>IstioGateway</code> says that people want one, and in how many replicas. <a href="/settings/new/IstioGateway">Make one</a></Empty>} />
    </Card>
  );
}

/** How one gateway shuts down, and in how many replicas it runs. */
export function GatewaySettings({ gateway }: { gateway: string }) {
  const { value: form, refusal, again } = useGet<GatewayForm>('settings/gateway', { name: gateway });
  if (!form) return <Card>{!refusal ? <Loading what="its settings" /> : refusal.status === 404 ? <Empty title="There is no such gateway">{refusal.message} <a href="/settings/gateway">All gateways</a></Empty> : <Refused refusal={refusal} />}</Card>;
  return <Form key={form.digest + JSON.stringify(form.values)} form={form} again={again} />;
}

function Form({ form, again }: { form: GatewayForm; again: () => void }) {
  const [v, setV] = useState(form.values);
  const [reviewing, review] = useState(false);
  const may = useOperates() && form.writable;
  const set = <K extends keyof GatewayValues>(name: K, value: GatewayValues[K]) => setV({ ...v, [name]: value });
  const fixed = (name: keyof GatewayValues): boolean => !may || form.from[name]?.fixed === true;
  const wrong = problems(v, form);
  const any = Object.keys(wrong).length > 0;
  const changed = JSON.stringify(v) !== JSON.stringify(form.values);
  useKept(changed);
  const body = { gateway: form.gateway, digest: form.digest, values: v };
  const { limits } = form;
  return (
    <>
      {!form.writable && <Notice tone="warn">{form.why ?? 'It cannot be changed from here.'}</Notice>}
      <Notes of={form.notes} />
      <form class="card settings-card" onSubmit={(e) => { e.preventDefault(); if (may && changed && !any) review(true); }} noValidate>
        <Switch label="Graceful shutdown" on={v.graceful_shutdown} set={(on) => set('graceful_shutdown', on)} disabled={fixed('graceful_shutdown')} from={form.from.graceful_shutdown}>
          A replica that leaves serves what is open, and tells its clients that it goes. Off: what is open has the time that the gateway was started with.
        </Switch>
        <fieldset disabled={!v.graceful_shutdown}>
          <legend class="hidden">Shutdown</legend>
          <NumberField
            label="Connection timeout" unit="s" value={v.timeout_s} set={(n) => set('timeout_s', n)} disabled={fixed('timeout_s')} from={form.from.timeout_s} wrong={wrong.timeout_s}
            hint={`How long what is open may take, ${span(limits.timeout_least, limits.timeout_most)}; then it is ended, and counted as cut.`}
          />
        </fieldset>
        <NumberField label="Replicas" value={v.replicas} set={(n) => set('replicas', n)} disabled={fixed('replicas')} from={form.from.replicas} wrong={wrong.replicas} hint={`${limits.replicas_least} to ${limits.replicas_most}. They share its sockets: connections find whoever is there.`} />
        <footer class="settings-foot">
          <p class="quiet small">{form.target.new ? 'It makes' : 'It changes'} the IstioGateway {form.document ? <a href={place(['settings', 'documents', form.document.id])}>{form.target.name}</a> : <b>{form.target.name}</b>} in <code>{form.target.file || 'etcd'}</code>.</p>
          {may && (
            <div class="row">
              <button type="button" class="button" disabled={!changed} onClick={() => setV(form.values)}>Take it back</button>
              <button type="submit" class="button primary" disabled={!changed || any}>Review the change…</button>
            </div>
          )}
        </footer>
      </form>
      {reviewing && (
        <Review
          title={`Gateway ${form.gateway}`} close={() => review(false)}
          check={() => post<Check>('settings/gateway/check', body)} apply={() => post<AppliedChange>('settings/gateway/apply', body)}
          applied={() => { review(false); again(); }}
        />
      )}
    </>
  );
}

const span = (least: number, most: number): string => (most > 0 ? `${least} to ${most} s` : `${least} s or more`);

function problems(v: GatewayValues, { limits: l }: GatewayForm): Partial<Record<keyof GatewayValues, string>> {
  const wrong: Partial<Record<keyof GatewayValues, string>> = {};
  const whole = (n: number, least: number, most: number) => Number.isInteger(n) && n >= least && (most === 0 || n <= most);
  if (v.graceful_shutdown && !whole(v.timeout_s, l.timeout_least, l.timeout_most)) wrong.timeout_s = `It must be a whole number, ${span(l.timeout_least, l.timeout_most)}.`;
  if (!whole(v.replicas, l.replicas_least, l.replicas_most)) wrong.replicas = `It must be a whole number, ${l.replicas_least} to ${l.replicas_most}.`;
  return wrong;
}
