// Calls of the console's API. What the server refuses comes out as a Refusal, with the server's own words.

import type { Session } from './api';

const base = '/api/v1/';

/** A Refusal is an answer that is not what was asked for; status 0 is no answer at all. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly suggestions: string[] = [],
  ) {
    super(message);
  }
}

/** Query parameters: what is undefined is left out, a list is one parameter several times. */
export type Query = Record<string, string | number | readonly string[] | undefined>;

/** The path of something below the API, with its query: for links and downloads as well. */
export function address(path: string, query: Query = {}): string {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const v of Array.isArray(value) ? value : [value]) if (v !== undefined) q.append(name, String(v));
  }
  const text = q.toString();
  return base + path + (text ? `?${text}` : '');
}

export function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return call<T>(address(path, query), { signal: signal ?? null });
}

let token: string | undefined;

/** The session; its CSRF token goes with everything that is posted from then on. */
export async function session(): Promise<Session> {
  const s = await get<Session>('session');
  token = s.csrf;
  return s;
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  if (token === undefined) await session();
  const send = () =>
    call<T>(address(path), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Crossfade-CSRF': token ?? '' },
      body: JSON.stringify(body),
    });
  const before = token;
  try {
    return await send();
  } catch (e) {
    if (!(e instanceof Refusal) || e.status !== 403) throw e;
    await session();
    if (token === before) throw e; // it was not the token: whoever serves is not a new one
    return send();
  }
}

async function call<T>(url: string, init: RequestInit): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(url, { credentials: 'same-origin', ...init });
  } catch (e) {
    if (e instanceof DOMException && e.name === 'AbortError') throw e;
    throw new Refusal(0, 'no answer: control is away, or the network between');
  }
  if (answer.status === 401) logIn();
  if (!answer.ok) throw await refusal(answer);
  return (await answer.json()) as T;
}

/** Leads to where people say who they are, and back here afterwards. */
export function logIn(): void {
  location.assign(`/login?then=${encodeURIComponent(location.pathname + location.search)}`);
}

/** What an answer that is not OK says. */
export async function refusal(answer: Response): Promise<Refusal> {
  const text = await answer.text();
  try {
    const said = JSON.parse(text) as { error?: string; suggestions?: string[] };
    if (said.error) return new Refusal(answer.status, said.error, said.suggestions ?? []);
  } catch {
    // Not JSON: whatever stands between wrote it, and its words are all there is.
  }
  return new Refusal(answer.status, text.slice(0, 300) || `${answer.status} ${answer.statusText}`);
}
