// Where services stand in the picture of who calls whom, and what flows between them: pure, from an overview.

import type { Edge, GatewayRow, ServiceRow } from '../api';

const card = { least: 164, most: 224, head: 58, version: 25, foot: 8, down: 22 };
const across = { least: 56, most: 170 }; // between columns

/** Where an edge is from whose caller came to a service's instances past the gateways. */
export const direct = '(direct)';

export interface Box {
  id: string; // "gateway", "direct", "service:NAME", "others:COLUMN"
  kind: 'gateway' | 'service' | 'others';
  name: string; // of a service: its host, and its port where others have that host too
  column: number;
  x: number;
  y: number;
  height: number;
  rate: number;
  service?: ServiceRow;
  replicas?: GatewayRow[];
  others?: ServiceRow[];
}

/** A Band is what flows from one box to one version of a service, or to a box as a whole. */
export interface Band {
  id: string;
  from: Box;
  to: Box;
  version?: number; // of to's versions
  rate: number;
  y0: number;
  y1: number;
  width: number;
}

export interface Flow { boxes: Box[]; bands: Band[]; width: number; height: number; card: number } // card: a box's width

const widest = 24;

/** Places everything in columns, as wide and as far apart as there is room for. Of a column, at most so many stand alone: those that are looked for,
 * that move, and then those with the most traffic; the rest of it is one box. */
export function flowOf(services: ServiceRow[], edges: Edge[], gateways: GatewayRow[], most: number, wanted: (s: ServiceRow) => boolean, room: number): Flow {
  const owners = ownersOf(services);
  const calls = callsOf(edges, owners);
  const often = usual(calls);
  const depth = depths(services, often);
  const alone = chosen(services, depth, most, wanted);
  const boxes = new Map<string, Box>();
  for (const b of [...gatewaysOf(gateways, edges), ...directOf(edges)]) boxes.set(b.id, b);
  const hosts = new Set<string>();
  const twice = new Set(services.map((s) => s.host).filter((h) => hosts.has(h) || !hosts.add(h)));
  const at = (s: ServiceRow): Box => {
    const column = depth.get(s.name) ?? 1;
    const id = alone.has(s.name) ? `service:${s.name}` : `others:${column}`;
    let b = boxes.get(id);
    if (!b) boxes.set(id, (b = alone.has(s.name) ? serviceBox(s, twice.has(s.host) ? s.name : s.host, column) : { id, kind: 'others', name: '', column, x: 0, y: 0, height: card.head, rate: 0, others: [] }));
    if (b.others) {
      b.others.push(s);
      b.rate += s.rate.requests;
    }
    return b;
  };
  const byName = new Map(services.map((s) => [s.name, s]));
  const of = new Map(services.map((s) => [s.name, at(s)]));
  const entrance = (from: string) => boxes.get(from === direct ? 'direct' : 'gateway');
  const bands = new Map<string, Band>();
  for (const c of calls) {
    if (c.rate === 0 && !often.includes(c)) continue;
    const to = of.get(c.to);
    const service = byName.get(c.to);
    const from = outside(c.from) ? entrance(c.from) : of.get(c.from);
    if (to && from && service && to !== from) split(bands, from, to, service, c.rate);
  }
  return placed([...boxes.values()], [...bands.values()], room);
}

function serviceBox(s: ServiceRow, name: string, column: number): Box {
  return { id: `service:${s.name}`, kind: 'service', name, column, x: 0, y: 0, height: card.head + s.versions.length * card.version + (s.versions.length ? card.foot : 0), rate: s.rate.requests, service: s };
}

/** One box for all gateways: which of them a request came through, edges do not say. */
function gatewaysOf(gateways: GatewayRow[], edges: Edge[]): Box[] {
  if (gateways.length === 0 && !edges.some((e) => e.from === '')) return [];
  const groups = [...new Set(gateways.map((g) => g.group || g.id))];
  const shown = Math.min(gateways.length, 8);
  return [{ id: 'gateway', kind: 'gateway', name: groups.length === 1 ? groups[0]! : 'gateways', column: 0, x: 0, y: 0, height: card.head + shown * card.version + card.foot, rate: gateways.reduce((n, g) => n + g.rate.requests, 0), replicas: gateways }];
}

/** One box for whoever calls past the gateways, if anybody does. */
function directOf(edges: Edge[]): Box[] {
  const theirs = edges.filter((e) => e.from === direct);
  if (theirs.length === 0) return [];
  return [{ id: 'direct', kind: 'gateway', name: 'direct', column: 0, x: 0, y: 0, height: card.head, rate: theirs.reduce((n, e) => n + e.requests, 0) }];
}

const outside = (from: string): boolean => from === '' || from === direct;

/** Which service a workload's instances belong to: as its endpoints say, else as its name begins. */
function ownersOf(services: ServiceRow[]): (workload: string) => string | undefined {
  const known = new Map<string, string>();
  for (const s of services) for (const e of s.endpoints ?? []) if (e.workload) known.set(e.workload, s.name);
  const hosts = services.map((s) => [s.host.split('.')[0] ?? s.host, s.name] as const).sort((a, b) => b[0].length - a[0].length);
  return (workload) => known.get(workload) ?? hosts.find(([host]) => workload === host || workload.startsWith(`${host}-`))?.[1];
}

interface Call { from: string; to: string; rate: number; total: number }

const stray = 0.05; // of all calls of a service: fewer say nothing of where it stands

function callsOf(edges: Edge[], owner: (workload: string) => string | undefined): Call[] {
  const sums = new Map<string, Call>();
  for (const e of edges) {
    const from = outside(e.from) ? e.from : owner(e.from);
    if (from === undefined) continue;
    const key = `${from}\n${e.to}`;
    const was = sums.get(key);
    if (was) {
      was.rate += e.requests;
      was.total += e.total;
    } else sums.set(key, { from, to: e.to, rate: e.requests, total: e.total });
  }
  return [...sums.values()];
}

/** The calls that say where services stand: not those few that somebody made by hand, or before it was known who called. */
function usual(calls: Call[]): Call[] {
  const all = new Map<string, number>();
  for (const c of calls) all.set(c.to, (all.get(c.to) ?? 0) + c.total);
  return calls.filter((c) => c.total >= stray * (all.get(c.to) ?? 0));
}

/** How far from outside each service is called: its column. Who calls in a circle stands where it is met first. */
function depths(services: ServiceRow[], calls: Call[]): Map<string, number> {
  const callees = new Map<string, string[]>();
  for (const c of calls) callees.set(c.from, [...(callees.get(c.from) ?? []), c.to]);
  const depth = new Map<string, number>();
  let front = [...(callees.get('') ?? []), ...(callees.get(direct) ?? [])];
  for (let d = 1; front.length > 0; d++) {
    const fresh = [...new Set(front)].filter((name) => !depth.has(name));
    for (const name of fresh) depth.set(name, d);
    front = fresh.flatMap((name) => callees.get(name) ?? []);
  }
  for (const s of services) if (!depth.has(s.name)) depth.set(s.name, 1);
  return depth;
}

/** The services that stand alone. */
function chosen(services: ServiceRow[], depth: Map<string, number>, most: number, wanted: (s: ServiceRow) => boolean): Set<string> {
  const moving = (s: ServiceRow) => s.stages.warming + s.stages.draining + s.stages.ejected > 0;
  const rank = (s: ServiceRow) => (wanted(s) ? 2e15 : 0) + (moving(s) ? 1e15 : 0) + s.requests;
  const columns = new Map<number, ServiceRow[]>();
  for (const s of services) {
    const column = depth.get(s.name) ?? 1;
    columns.set(column, [...(columns.get(column) ?? []), s]);
  }
  const alone = new Set<string>();
  for (const column of columns.values()) {
    const all = column.length <= most + 1; // a box for one more service says less than that service
    column.sort((a, b) => rank(b) - rank(a) || (a.name < b.name ? -1 : 1));
    for (const s of all ? column : column.slice(0, most)) alone.add(s.name);
  }
  return alone;
}

/** What is called goes to versions as the service's requests are split among them. */
function split(bands: Map<string, Band>, from: Box, to: Box, service: ServiceRow, rate: number): void {
  const add = (version: number | undefined, n: number) => {
    const id = `${from.id}>${to.id}>${version ?? ''}`;
    const was = bands.get(id);
    if (was) was.rate += n;
    else bands.set(id, { id, from, to, version, rate: n, y0: 0, y1: 0, width: 1 });
  };
  if (to.kind === 'others' || service.versions.length === 0) add(undefined, rate);
  else service.versions.forEach((v, i) => add(i, rate * v.fraction));
}

function placed(boxes: Box[], bands: Band[], room: number): Flow {
  const columns: Box[][] = [];
  for (const b of boxes) (columns[b.column] ??= []).push(b);
  const n = Math.max(1, columns.length);
  const wide = Math.max(card.least, Math.min(card.most, (room - (n - 1) * across.least) / n));
  const gap = Math.max(across.least, Math.min(across.most, (room - n * wide) / Math.max(1, n - 1)));
  const above = (b: Box) => {
    const into = bands.filter((band) => band.to === b);
    const sum = into.reduce((n, band) => n + band.rate + 1e-6, 0);
    return into.length === 0 ? Infinity : into.reduce((n, band) => n + (band.from.y + band.from.height / 2) * (band.rate + 1e-6), 0) / sum;
  };
  const heights = columns.map((c) => c?.reduce((n, b) => n + b.height + card.down, -card.down) ?? 0);
  const height = Math.max(0, ...heights);
  columns.forEach((column, i) => {
    const order = new Map(column.map((b) => [b, b.kind === 'others' ? Infinity : above(b)]));
    column.sort((a, b) => (order.get(a)! === order.get(b)! ? (a.name < b.name ? -1 : 1) : order.get(a)! - order.get(b)!));
    let y = (height - heights[i]!) / 2;
    for (const b of column) {
      b.x = i * (wide + gap);
      b.y = y;
      y += b.height + card.down;
    }
  });
  ends(bands);
  return { boxes, bands, width: n * (wide + gap) - gap, height, card: wide };
}

/** Where bands leave and arrive: they leave side by side, in the order of where they go. */
function ends(bands: Band[]): void {
  const most = Math.max(1e-9, ...bands.map((b) => b.rate));
  for (const b of bands) {
    b.width = b.rate > 0 ? Math.max(1.5, widest * (b.rate / most)) : 1;
    b.y1 = b.to.y + (b.version === undefined ? card.head / 2 : card.head + (b.version + 0.5) * card.version);
  }
  for (const [from, leaving] of grouped(bands)) {
    leaving.sort((a, b) => a.y1 - b.y1);
    let y = from.y + from.height / 2 - leaving.reduce((n, b) => n + b.width, 0) / 2;
    for (const b of leaving) {
      b.y0 = y + b.width / 2;
      y += b.width;
    }
  }
}

function grouped(bands: Band[]): Map<Box, Band[]> {
  const groups = new Map<Box, Band[]>();
  for (const b of bands) groups.set(b.from, [...(groups.get(b.from) ?? []), b]);
  return groups;
}
