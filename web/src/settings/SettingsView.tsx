import { usePlace } from '../router';
import { useSession } from '../session';
import { Empty, Head, Notice, Tabs } from '../ui/parts';
import { Documents } from './Documents';
import { Edit, New } from './Edit';
import { GatewayList, GatewaySettings } from './Gateway';
import { StartList, StartSettings } from './Start';
import './settings.css';

/** Settings: forms for what is set most, and the text of everything. */
export function SettingsView() {
  const { parts } = usePlace();
  const [, part = 'start', first, second] = parts;
  const looks = useSession()?.role === 'view';
  return (
    <>
      <Head title={title(part, first, second)} sub="What is written here goes into the file, or the etcd, that it came from: checked first, shown as a difference, and applied when you say so." />
      <Tabs label="Settings" of={[
        { to: '/settings/start', text: 'Graceful start', here: part === 'start' },
        { to: '/settings/gateway', text: 'Gateways', here: part === 'gateway' },
        { to: '/settings/documents', text: 'Configuration', here: part === 'documents' || part === 'new' },
      ]} />
      {looks && <Notice>You may look at settings. Changing them needs the role <b>operate</b>.</Notice>}
      {view(part, first, second)}
    </>
  );
}

function view(part: string, first?: string, second?: string) {
  switch (part) {
    case 'start': return first && second ? <StartSettings key={`${first}/${second}`} workload={`${first}/${second}`} /> : <StartList />;
    case 'gateway': return first && second ? <GatewaySettings key={`${first}/${second}`} gateway={`${first}/${second}`} /> : <GatewayList />;
    case 'documents': return first ? <Edit key={first} id={first} /> : <Documents />;
    case 'new': return <New key={first ?? ''} kind={first} />;
  }
  return <Empty title="There is no such setting"><a href="/settings">All settings</a></Empty>;
}

function title(part: string, first?: string, second?: string): string {
  if (part === 'start' && first && second) return `Graceful start of ${second}`;
  if (part === 'gateway' && first && second) return `Gateway ${second}`;
  if (part === 'new') return 'New document';
  return 'Settings';
}
