// The shell: where one can go, who one is, whether control is there; and the view that the address names.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ReleaseRow, Session } from './api';
import { Refusal, session } from './call';
import { usePlace, type Place } from './router';
import { SessionContext } from './session';
import { setTheme, theme, type Theme } from './theme';
import { useCondition, useTopic } from './topics';
import { Toasts } from './ui/dialog';
import { DarkIcon, EventsIcon, InstancesIcon, LightIcon, Logo, OverviewIcon, ReleasesIcon, SettingsIcon, SystemIcon, TopologyIcon } from './ui/icons';
import { Empty, Head, goesOn } from './ui/parts';
import { EventsView } from './events/EventsView';
import { InstancesView } from './instances/InstancesView';
import { Overview } from './views/overview';
import { ReleasesView } from './releases/ReleasesView';
import { ServiceView } from './views/service';
import { SettingsView } from './settings/SettingsView';
import { Topology } from './views/topology';

const places = [
  { to: '/', part: '', text: 'Overview', icon: OverviewIcon, view: Overview },
  { to: '/topology', part: 'topology', text: 'Topology', icon: TopologyIcon, view: Topology },
  { to: '/instances', part: 'instances', text: 'Start and shutdown', icon: InstancesIcon, view: InstancesView },
  { to: '/releases', part: 'releases', text: 'Releases', icon: ReleasesIcon, view: ReleasesView },
  { to: '/settings', part: 'settings', text: 'Settings', icon: SettingsIcon, view: SettingsView },
  { to: '/events', part: 'events', text: 'Events', icon: EventsIcon, view: EventsView },
] as const;

export function App() {
  const place = usePlace();
  const [who, setWho] = useState<Session>();
  const [refused, setRefused] = useState<Refusal>();
  const [older, setOlder] = useState(false);
  const first = useRef<string | undefined>(undefined);
  const { condition } = useCondition();
  useEffect(() => {
    if (condition === 'away') return;
    session().then((s) => {
      first.current ??= s.version;
      setOlder(s.version !== first.current);
      setWho(s);
      setRefused(undefined);
    }, (e: unknown) => setRefused(e instanceof Refusal && e.status > 0 ? e : undefined));
  }, [condition === 'away']);

  return (
    <SessionContext.Provider value={who}>
      <a class="skip" href="#main" onClick={skip}>Skip to the content</a>
      <div class="shell">
        <Side place={place} who={who} />
        <div class="main">
          <Banner />
          {older && <Older />}
          {refused && <div class="banner bad" role="alert"><b>{refused.message}</b></div>}
          <Main place={place} />
        </div>
      </div>
      <Toasts />
    </SessionContext.Provider>
  );
}

function skip(e: Event): void {
  e.preventDefault();
  document.getElementById('main')?.focus();
}

/** The view at an address. Going from one to another moves the focus there and names it, as loading a page would. */
function Main({ place }: { place: Place }) {
  const main = useRef<HTMLElement>(null);
  const before = useRef(place.path);
  useEffect(() => {
    const title = main.current?.querySelector('h1')?.textContent;
    document.title = title ? `${title} · crossfade` : 'crossfade';
    if (before.current !== place.path && before.current.split('/')[1] !== place.path.split('/')[1]) main.current?.focus({ preventScroll: true });
    before.current = place.path;
  }, [place.path]);
  return <main id="main" ref={main} tabIndex={-1}>{view(place)}</main>;
}

function view(place: Place): ComponentChildren {
  const [first, second] = place.parts;
  if (first === 'services' && second) return <ServiceView key={second} name={second} />;
  const View = places.find((p) => p.part === (first ?? ''))?.view;
  if (View) return <View />;
  return (
    <>
      <Head title="Nothing here" />
      <Empty title={`No page has the address ${place.path}`}><a href="/">To the overview</a></Empty>
    </>
  );
}

function Side({ place, who }: { place: Place; who: Session | undefined }) {
  const running = useRunning();
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => list.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }), [place.parts[0]]);
  const part = place.parts[0] === 'services' ? '' : (place.parts[0] ?? '');
  return (
    <header class="side">
      <a class="brand" href="/" aria-label="crossfade, overview"><Logo />crossfade</a>
      <nav aria-label="Places">
        <ul ref={list} class="places">
          {places.map((p) => <li key={p.to}><a href={p.to} aria-current={p.part === part ? 'page' : undefined}><p.icon />{p.text}{p.part === 'releases' && running > 0 && <span class="n" aria-label={`${running} running`}>{running}</span>}</a></li>)}
        </ul>
      </nav>
      <div class="foot">
        <Pulse />
        <ThemeSwitch />
        {who && <Who of={who} />}
      </div>
    </header>
  );
}

/** How many releases run: every page follows that, and so knows whether control is there. */
function useRunning(): number {
  const { value } = useTopic<{ releases: ReleaseRow[] }>('releases');
  return value?.releases.filter((r) => goesOn(r.verdict)).length ?? 0;
}

function Who({ of: s }: { of: Session }) {
  return (
    <div class="who">
      <div class="clip">{s.loopback ? 'This machine' : s.user}{s.role === 'view' && ', may look only'}</div>
      <div class="clip" title={s.version}>{`crossfade ${s.program} ${s.version}`}</div>
      {!s.loopback && <form method="post" action="/logout"><button class="button small">Log out</button></form>}
    </div>
  );
}

const words = { live: 'Live', connecting: 'Connecting', away: 'Control is away' };

function Pulse() {
  const { condition } = useCondition();
  return <div class={`pulse ${condition}`} role="status"><i />{words[condition]}</div>;
}

/** What must be known before anything on the page is believed. */
function Banner() {
  const { condition, why } = useCondition();
  const [long, setLong] = useState(false);
  useEffect(() => {
    setLong(false);
    if (condition !== 'away') return;
    const timer = setTimeout(() => setLong(true), 1200); // a restart of control that nobody needs to hear of
    return () => clearTimeout(timer);
  }, [condition]);
  if (condition !== 'away' || !long) return null;
  return (
    <div class="banner" role="alert">
      <b>{sentence(why ?? words.away)}</b>
      <span>What you see is the last that was known. Gateways go on serving by it; the page recovers by itself.</span>
    </div>
  );
}

const sentence = (text: string) => `${text[0]?.toUpperCase()}${text.slice(1)}.`;

/** Whoever serves is another version than the one that this page came from: what it says may not be what this page reads. */
function Older() {
  return (
    <div class="banner" role="alert">
      <b>This page is older than the crossfade that answers.</b>
      <button type="button" class="button small" onClick={() => location.reload()}>Load it again</button>
    </div>
  );
}

const themes: [Theme, string, () => ComponentChildren][] = [
  ['light', 'Light', LightIcon],
  ['dark', 'Dark', DarkIcon],
  ['system', 'As the system', SystemIcon],
];

function ThemeSwitch() {
  const [now, set] = useState(theme);
  return (
    <div class="segments" role="group" aria-label="Colours">
      {themes.map(([t, name, Icon]) => (
        <button key={t} type="button" class="theme" title={name} aria-label={name} aria-pressed={now === t} onClick={() => { setTheme(t); set(t); }}><Icon /></button>
      ))}
    </div>
  );
}

