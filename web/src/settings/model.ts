// The JSON of settings, as internal/settings speaks it.

export interface SettingsFinding {
  severity: 'error' | 'warning';
  file?: string;
  line?: number;
  column?: number;
  field?: string;
  message: string;
  object?: string;
  rule?: string;
  here?: boolean; // it is about the document that is edited
  input?: string; // of a form: the field that it is about
}

export interface Document {
  id: string;
  kind: string;
  namespace: string;
  name: string;
  file: string; // "" of one in etcd
  line: number;
  source: 'file' | 'etcd';
  digest: string;
  writable: boolean;
  why?: string; // it is not writable
  hidden?: boolean; // it may hold a key, and is not shown
}

export interface DocumentList {
  writable: boolean;
  why?: string;
  documents: Document[];
  findings: SettingsFinding[];
  etcd: boolean;
}

export interface DocumentBody extends Document { yaml: string }
export interface Template { kind: string; title: string; yaml: string }

/** What a change would come to. */
export interface Check {
  ok: boolean;
  changed: boolean;
  findings: SettingsFinding[];
  diff: string;
  effects: string[];
  file: string;
  line: number;
  digest: string;
  id: string;
  conflict?: boolean; // said by the page: somebody else has changed it since
}

export interface AppliedChange { applied: boolean; changed: boolean; file: string; line: number; id: string; digest: string }

/** Where a value comes from. */
export interface From {
  from: 'default' | 'lifecycle' | 'label' | 'none' | 'gateway' | string;
  file?: string;
  line?: number;
  text?: string;
  fixed?: boolean; // something that goes before says it: the form cannot change it
}

export interface Target { file: string; name: string; new: boolean; source: 'file' | 'etcd' }

export type CurveName = 'quadratic' | 'linear' | 'power';

export interface StartValues {
  enabled: boolean;
  delay_s: number;
  warmup_s: number;
  curve: CurveName;
  aggression: number;
  minimum_percent: number;
  readiness: 'registered' | 'warm';
}

export interface Probe { path: string; port: number; agent: boolean; file?: string; line?: number; note: string }

export interface StartForm {
  workload: string;
  kind: 'deployment' | 'agent';
  values: StartValues;
  from: Partial<Record<keyof StartValues, From>>;
  document: Document | null;
  shared: string[];
  scope: 'own' | 'document';
  target: Target;
  digest: string;
  probe: Probe | null;
  notes: string[];
  instead: string[]; // warm-ups of DestinationRules that go before the form's, by service
  writable: boolean;
  why?: string;
  limits: { time_s: number; aggression_least: number; aggression_most: number };
}

export interface StartRow { workload: string; kind: 'deployment' | 'agent'; enabled: boolean; warmup_s: number }

export interface GatewayValues { graceful_shutdown: boolean; timeout_s: number; replicas: number }

export interface GatewayForm {
  gateway: string;
  values: GatewayValues;
  from: Partial<Record<keyof GatewayValues, From>>;
  document: Document | null;
  target: Target;
  digest: string;
  notes: string[];
  writable: boolean;
  why?: string;
  limits: { timeout_least: number; timeout_most: number; replicas_least: number; replicas_most: number };
}

export interface GatewayListRow { gateway: string; replicas: number; graceful_shutdown: boolean; timeout_s: number }

/** The aggression that a curve's name stands for. */
export function aggressionOf(v: StartValues): number {
  return v.curve === 'quadratic' ? 0.5 : v.curve === 'linear' ? 1 : v.aggression;
}
