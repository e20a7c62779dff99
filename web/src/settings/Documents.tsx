import { useMemo } from 'preact/hooks';
import { some } from '../format';
import { place, useQuery } from '../router';
import { useOperates } from '../session';
import { useGet } from '../topics';
import { Refused } from '../ui/dialog';
import { Badge, Card, Empty, Loading, Notice } from '../ui/parts';
import { Findings } from './Findings';
import type { Document, DocumentList } from './model';

/** The kinds that can be written here, in the order in which people want them. */
export const kinds = ['VirtualService', 'DestinationRule', 'Gateway', 'Lifecycle', 'IstioGateway'] as const;

/** All documents of the configuration, by the file that they stand in. */
export function Documents() {
  const { value, refusal } = useGet<DocumentList>('documents', undefined, 5000);
  const [search, setSearch] = useQuery('q');
  const [kind, setKind] = useQuery('kind');
  const operates = useOperates();
  const files = useMemo(() => grouped(value?.documents ?? [], search, kind), [value, search, kind]);
  const all = useMemo(() => [...new Set((value?.documents ?? []).map((d) => d.kind))].sort(), [value]);
  if (!value) return <Card>{refusal ? <Refused refusal={refusal} /> : <Loading what="the configuration" />}</Card>;
  return (
    <>
      {!value.writable && <Notice tone="warn">{value.why ?? 'The configuration cannot be changed from here.'}</Notice>}
      {value.findings.length > 0 && (
        <Card title="Findings" beside={<Badge tone={value.findings.some((f) => f.severity === 'error') ? 'bad' : 'warn'}>{value.findings.length}</Badge>}>
          <Findings of={value.findings} />
        </Card>
      )}
      <Card
        title={some(value.documents.length, 'document')} flush
        tools={<>
          <input type="search" aria-label="Search documents" placeholder="Name, kind, file…" value={search} onInput={(e) => setSearch(e.currentTarget.value)} />
          <select aria-label="Kind" value={kind} onChange={(e) => setKind(e.currentTarget.value)}>
            <option value="">All kinds</option>
            {all.map((k) => <option key={k} value={k}>{k}</option>)}
          </select>
          {operates && value.writable && <a class="button primary" href="/settings/new">New…</a>}
        </>}
      >
        {files.length === 0 && <Empty title="No document fits">Change the search or the filter.</Empty>}
        {files.map(([file, documents]) => (
          <section key={file} class="file">
            <h3><code>{file || 'etcd'}</code></h3>
            <ul>{documents.map((d) => <Line key={d.id} d={d} />)}</ul>
          </section>
        ))}
      </Card>
    </>
  );
}

function Line({ d }: { d: Document }) {
  return (
    <li>
      <a href={place(['settings', 'documents', d.id])}>
        <span class="file-kind">{d.kind}</span>
        <b class="clip">{d.name}</b>
        <span class="faint clip">{d.namespace}</span>
        <span class="file-end faint small">{d.hidden ? 'not shown' : d.writable ? '' : 'to be read'}{d.line > 0 && <>{' '}<code>{`:${d.line}`}</code></>}</span>
      </a>
    </li>
  );
}

function grouped(documents: readonly Document[], search: string, kind: string): [string, Document[]][] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const files = new Map<string, Document[]>();
  for (const d of documents) {
    const text = `${d.kind} ${d.namespace} ${d.name} ${d.file}`.toLowerCase();
    if ((kind && d.kind !== kind) || !words.every((w) => text.includes(w))) continue;
    files.set(d.file, [...(files.get(d.file) ?? []), d]);
  }
  return [...files];
}
