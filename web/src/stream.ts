// Server-sent events, read by fetch: EventSource hides the status of a refusal, and waits for ever on a server that hangs.

import { Refusal, address, logIn, refusal, type Query } from './call';

export interface Message { event: string; id: string; data: string }

export type Condition = 'connecting' | 'live' | 'away';

export interface Listener {
  message(m: Message): void;
  condition(c: Condition, why?: string): void;
}

const quiet = 25_000; // ms without a byte; the server sends one every 10 s
const first = 500; // ms before the first new attempt; doubled to last
const last = 4_000;

/** Follows a stream until the signal says otherwise. Whatever ends it is told, and it is opened again, from where it was. */
export async function follow(path: string, query: Query, to: Listener, signal: AbortSignal): Promise<void> {
  let pause = first;
  let id = '';
  to.condition('connecting');
  while (!signal.aborted) {
    const attempt = new Attempt(signal);
    try {
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (id) headers['Last-Event-ID'] = id;
      const answer = await fetch(address(path, query), { headers, signal: attempt.signal, credentials: 'same-origin', cache: 'no-store' });
      if (answer.status === 401) logIn();
      if (!answer.ok || !answer.body) throw await refusal(answer);
      to.condition('live');
      await read(answer.body, attempt, (m) => {
        pause = first;
        if (m.id) id = m.id;
        to.message(m);
      });
      throw new Refusal(0, 'the stream has ended');
    } catch (e) {
      if (signal.aborted) return;
      to.condition('away', reason(e, attempt));
    } finally {
      attempt.end();
    }
    await sleep(pause * (0.75 + Math.random() / 2), signal);
    pause = Math.min(last, pause * 2);
  }
}

function reason(e: unknown, attempt: Attempt): string {
  if (attempt.hung) return 'control has said nothing for 25 s';
  if (e instanceof Refusal && e.status > 0) return e.message;
  return 'control is away';
}

/** An Attempt is one connection; it ends itself when nothing is heard for too long. */
class Attempt {
  hung = false;
  readonly #controller = new AbortController();
  #timer = 0;
  readonly #stop = () => this.#controller.abort();

  constructor(readonly outer: AbortSignal) {
    outer.addEventListener('abort', this.#stop);
    this.heard();
  }

  get signal(): AbortSignal { return this.#controller.signal; }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => {
      this.hung = true;
      this.#controller.abort();
    }, quiet);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.outer.removeEventListener('abort', this.#stop);
    this.#controller.abort();
  }
}

async function read(body: ReadableStream<Uint8Array>, attempt: Attempt, take: (m: Message) => void): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new Parser(take);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    attempt.heard();
    parser.push(decoder.decode(value, { stream: true }));
  }
}

/** A Parser makes messages of the text of a stream, however it is cut: https://html.spec.whatwg.org/multipage/server-sent-events.html */
export class Parser {
  #rest: string[] = [];
  #event = '';
  #id = '';
  #data: string[] = [];

  constructor(readonly take: (m: Message) => void) {}

  push(text: string): void {
    let at = 0;
    for (;;) {
      const end = text.indexOf('\n', at);
      if (end < 0) {
        if (at < text.length) this.#rest.push(text.slice(at));
        return;
      }
      this.#rest.push(text.slice(at, end));
      const line = this.#rest.join('');
      this.#rest.length = 0;
      this.#line(line.endsWith('\r') ? line.slice(0, -1) : line);
      at = end + 1;
    }
  }

  #line(line: string): void {
    if (line === '') {
      if (this.#data.length > 0) this.take({ event: this.#event || 'message', id: this.#id, data: this.#data.join('\n') });
      this.#event = '';
      this.#data = [];
      return;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'event') this.#event = value;
    else if (name === 'id') this.#id = value;
    else if (name === 'data') this.#data.push(value);
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(end, ms);
    function end() {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      done();
    }
    signal.addEventListener('abort', end);
  });
}
