// The console's API as the server speaks it: internal/history/model.go, internal/release/release.go, internal/series/series.go and
// internal/fleet are where these shapes come from. Times are RFC 3339; what is absent in JSON is optional here.

export type EndingKind =
  | 'served' | 'aborted' | 'no-endpoint' | 'overflow' | 'parted' | 'fault'
  | 'refused' | 'reset' | 'cut' | 'timeout' | '5xx' | 'grpc';
export type Side = '' | 'client' | 'gateway' | 'endpoint';

/** How many requests ended in each way; a way that none ended in is absent. */
export type Sums = Partial<Record<EndingKind, number>>;

export type Stage = 'Starting' | 'Warming' | 'Serving' | 'Draining' | 'Gone';
/** stalled: it is not over, and has come no nearer to its end for long; it runs again when it does. */
export type Verdict = 'running' | 'stalled' | 'lossless' | 'lossy' | 'unproven';
export type ReleaseKind = 'rollout' | 'scale' | 'gateway';
export type Role = 'view' | 'operate';

export interface Session {
  role: Role;
  user: string;
  loopback: boolean;
  csrf: string;
  version: string;
  program: 'up' | 'control';
}

export interface Origin { file?: string; line?: number; kind?: string; name?: string }
export interface Code { status: number; n: number }
export interface Rates { requests: number; lost: number; p50_ms: number; p99_ms: number }

export interface FleetEvent {
  time: string;
  kind: string;
  service?: string;
  endpoint?: string;
  incarnation?: string;
  from?: string;
  reason?: string;
  by?: string;
}

export interface Warmup {
  window_ns: number;
  minimum?: number;
  aggression?: number;
  [more: string]: unknown;
}

export interface ListenerRow {
  name: string;
  mesh?: boolean;
  requests: number;
  active: number;
  ended: Sums;
  codes: Code[];
  calls?: Code[];
}

export interface Totals {
  requests: number;
  active: number;
  ended: Sums;
  lost: number;
  rejected: number;
  connects: number;
  codes: Code[];
  calls?: Code[];
  rate: Rates;
  listeners?: ListenerRow[];
}

export interface GatewayRow {
  id: string;
  group: string;
  namespace: string;
  stage: 'starting' | 'serving' | 'draining' | 'drained' | 'gone';
  rate: Rates;
  active: number;
  leave?: string;
}

export interface Stages { starting: number; warming: number; serving: number; draining: number; ejected: number }

export interface VersionRow {
  name: string;
  endpoints: number;
  warming: number;
  draining: number;
  requests: number;
  failed: number;
  fraction: number;
}

export interface EndpointRow {
  id: string;
  name: string;
  address: string;
  version: string;
  workload?: string;
  revision?: string;
  stage: Stage;
  ejected?: boolean;
  age_s: number;
  weight: number;
  factor: number;
  paused?: boolean;
  share: number;
  reason?: string;
  sentence?: string;
  due: number;
  requests: number;
  failed: number;
  p99_ms: number;
  active: number;
  sent: number;
  front?: boolean;
  foreign?: boolean;
}

export interface ServiceRow {
  name: string;
  host: string;
  namespace: string;
  protocol: string;
  requests: number;
  lost: number;
  ended: Sums;
  direct?: Sums; // of ended: of callers who came past the gateways
  rate: Rates;
  stages: Stages;
  spark: number[];
  versions: VersionRow[];
  endpoints?: EndpointRow[];
}

export interface Edge { from: string; to: string; requests: number; total: number }

export interface ReleaseRow {
  id: string;
  kind: ReleaseKind;
  name: string;
  namespace: string;
  what: string;
  began: string;
  ended?: string;
  verdict: Verdict;
  why: string;
  served: number;
  lost: number;
  came: number;
  went: number;
}

export interface WorkloadRow {
  namespace: string;
  name: string;
  kind: 'deployment' | 'gateway';
  replicas: number;
  ready: number;
  updated: number;
  total: number;
}

export interface Overview {
  time: string;
  snapshot: number;
  config: string;
  rejected?: string;
  since: string;
  outside: Totals;
  gateways: GatewayRow[];
  services: ServiceRow[];
  edges: Edge[];
  releases: ReleaseRow[];
  workloads: WorkloadRow[];
}

export interface PoolRow {
  subset: string;
  algorithm: string;
  warmup?: Warmup;
  policy: Record<string, unknown>;
  origin?: Origin;
  sentences: string[];
}

export interface Service extends ServiceRow {
  endpoints: EndpointRow[];
  pools: PoolRow[];
  origin?: Origin;
  codes: Code[];
  retries: number;
  findings: string[];
  events: FleetEvent[];
}

/** One number for each step; null is not known. */
export type Column = (number | null)[];

export interface Curve {
  name: string;
  of?: string;
  requests: Column;
  lost?: Column;
  due?: Column;
  share?: Column;
  p50_ms?: Column;
  p99_ms?: Column;
  active?: Column;
  fraction?: Column;
}

export interface Curves { from: number; step_s: number; curves: Curve[] }
export interface Heat { from: number; step_s: number; edges_ms: number[]; counts: (number[] | null)[] }
export type By = 'whole' | 'version' | 'endpoint';

export interface EpisodeRow {
  id: string;
  name: string;
  namespace: string;
  workload?: string;
  version?: string;
  services: string[];
  stage: Stage;
  running: boolean;
  killed?: boolean;
  began: string;
  offered?: string;
  warm?: string;
  left?: string;
  ended?: string;
  share: number;
}

export interface Mark { at: string; kind: string; text?: string }

export interface Point {
  t: number;
  requests: number;
  due: number;
  share: number;
  failed: number;
  p99_ms?: number;
  reason?: string;
}

export interface Episode {
  id: string;
  name: string;
  namespace: string;
  workload?: string;
  revision?: string;
  version?: string;
  address?: string;
  labels?: Record<string, string>;
  services: string[];
  stage: Stage;
  running: boolean;
  began: string;
  offered?: string;
  warm?: string;
  left?: string;
  ended?: string;
  killed?: boolean;
  warmup?: Warmup;
  marks: Mark[];
  from: number;
  points?: Point[];
  partial?: boolean;
}

export interface Loss { kind: EndingKind; side: Side; service: string; n: number }
export interface Quantiles { answers: number; p50_ms: number; p99_ms: number }
export interface WarmTime { episode: string; name: string; ready_ns: number; warm_ns: number; done: boolean }
export interface DrainSum { instances: number; drained: number; cut: number; killed: number; completed: number }

export interface Release {
  id: string;
  kind: ReleaseKind;
  namespace: string;
  name: string;
  what: string;
  services: string[];
  began: string;
  ended?: string;
  verdict: Verdict;
  why: string;
  overtaken_by?: string; // the release that was asked for before this one was as wanted
  came: string[];
  went: string[];
  requests: Sums;
  losses: Loss[];
  before: Quantiles;
  during: Quantiles;
  after: Quantiles;
  lost_after?: number; // in the minute after; in no verdict
  warm: WarmTime[];
  drains: DrainSum;
  events: FleetEvent[];
  by_service: Record<string, Sums>;
  failing: { episode: string; name: string; attempts: number; failed: number }[] | null;
  doubts: string[] | null;
}

export type Action =
  | 'drain' | 'undrain' | 'warmup.skip' | 'warmup.pause' | 'warmup.resume' | 'warmup.restart' | 'weight' | 'scale' | 'restart';
export interface Act {
  action: Action;
  kind: 'gateway' | 'deployment' | 'endpoint';
  namespace: string;
  name: string;
  value?: number;
}
