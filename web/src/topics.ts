// Live topics, merged from whole values and patches, over one stream for the whole page: browsers allow six connections to one place,
// for all tabs together. A tab that nobody sees follows nothing.

import { useEffect, useState } from 'preact/hooks';
import type { By, Curves } from './api';
import { Refusal, get, type Query } from './call';
import { latest, merged } from './merge';
import { follow, type Condition, type Message } from './stream';

/** What a topic is now. Value is undefined until the first whole one; it stays while control is away. */
export interface Live<T> {
  value?: T;
  condition: Condition;
  /** Why condition is "away". */
  why?: string;
  /** There is no such thing (any more), in the server's words. */
  gone?: string;
}

interface Topic { value?: unknown; gone?: string; watchers: Set<() => void> }

const linger = 3_000; // ms for which a topic is followed after its last watcher left: going back and forth opens nothing anew
const hideAfter = 5_000; // ms

/** The one stream: which topics it carries, and what it is now. */
class Wire {
  condition: Condition = 'connecting';
  why: string | undefined;
  readonly topics = new Map<string, Topic>();
  readonly watchers = new Set<() => void>(); // of condition
  #carried = '';
  #stop: AbortController | undefined;
  #planned = 0;
  #due = 0; // when the plan is carried out; 0 is no plan
  #left = false; // for another page: browsers keep this one as it is, for those who go back
  #frame = 0;
  #changed = new Set<Topic>();

  constructor() {
    let hidden = 0;
    document.addEventListener('visibilitychange', () => {
      clearTimeout(hidden);
      if (document.hidden) hidden = window.setTimeout(() => this.#open(), hideAfter);
      else this.#open();
    });
    addEventListener('pagehide', () => {
      this.#left = true; // or the stream would go on in a page that is kept, and have one of the six
      this.#open();
    });
    addEventListener('pageshow', () => {
      this.#left = false;
      this.#open();
    });
  }

  watch(name: string, changed: () => void): () => void {
    const topic = this.topic(name);
    topic.watchers.add(changed);
    this.#plan(0);
    return () => {
      topic.watchers.delete(changed);
      if (topic.watchers.size === 0) this.#plan(linger);
    };
  }

  topic(name: string): Topic {
    let t = this.topics.get(name);
    if (!t) this.topics.set(name, (t = { watchers: new Set() }));
    return t;
  }

  /** Looks after so many ms what is to be followed; what is to be looked for sooner stays. */
  #plan(pause: number): void {
    const due = performance.now() + pause;
    if (this.#due > 0 && this.#due <= due) return;
    clearTimeout(this.#planned);
    this.#due = due;
    this.#planned = window.setTimeout(() => {
      this.#due = 0;
      this.#open();
    }, pause);
  }

  /** Follows what is watched, if that is not what is followed. */
  #open(): void {
    const names = document.hidden || this.#left ? [] : [...this.topics].filter(([, t]) => t.watchers.size > 0).map(([name]) => name).sort();
    const carried = names.join('\n');
    if (carried === this.#carried) return;
    this.#carried = carried;
    this.#stop?.abort();
    this.#forget();
    if (names.length === 0) return;
    this.#stop = new AbortController();
    const to = {
      message: (m: Message) => this.#take(m),
      condition: (c: Condition, why?: string) => this.#be(c, why),
    };
    void follow('stream', { topic: names, since: this.#since(names) }, to, this.#stop.signal);
  }

  /** Lets go of values that nobody has looked at for long: the eight latest stay, for those who go back. */
  #forget(): void {
    const idle = [...this.topics].filter(([, t]) => t.watchers.size === 0); // a page that is hidden follows none, and still shows some
    for (const [name] of idle.slice(0, -8)) this.topics.delete(name);
  }

  /** The last second that all series of these names have; undefined where one has none. */
  #since(names: string[]): number | undefined {
    const ends = names.filter((n) => n.startsWith('series:')).map((n) => {
      const c = this.topics.get(n)?.value as Curves | undefined;
      return c ? latest(c) : 0;
    });
    return Math.min(...ends) > 0 && ends.length > 0 ? Math.min(...ends) : undefined;
  }

  #take(m: Message): void {
    const { topic: name, data } = JSON.parse(m.data) as { topic: string; data: unknown };
    const topic = this.topics.get(name);
    if (!topic) return;
    topic.gone = m.event === 'gone' ? (data as { error: string }).error : undefined;
    if (m.event !== 'gone') topic.value = merged(name, m.event, data, topic.value);
    this.#changed.add(topic);
    this.#soon();
  }

  #be(condition: Condition, why?: string): void {
    if (this.condition === condition && this.why === why) return;
    if (condition === 'connecting' && this.condition === 'live') return; // other topics over the same wire: nobody is away
    this.condition = condition;
    this.why = why;
    for (const t of this.topics.values()) this.#changed.add(t);
    this.#soon();
    for (const w of this.watchers) w();
  }

  /** Tells watchers once a frame, however many messages came. */
  #soon(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      const topics = this.#changed;
      this.#changed = new Set();
      for (const t of topics) for (const w of t.watchers) w();
    });
  }
}

const wire = new Wire();

/** Follows a topic: "overview", "service:reviews:9080", "episodes", "episode:ID", "releases", "release:ID", "series:NAME:by". undefined follows nothing. */
export function useTopic<T>(name: string | undefined): Live<T> {
  const [, turn] = useState(0);
  useEffect(() => {
    if (name === undefined) return;
    return wire.watch(name, () => turn((n) => n + 1));
  }, [name]);
  const topic = name === undefined ? undefined : wire.topic(name);
  return { value: topic?.value as T | undefined, gone: topic?.gone, condition: wire.condition, why: wire.why };
}

/** The curves of a service as they grow: a quarter of an hour, then each second. "" is what came in from outside. */
export function useSeries(service: string | undefined, by: By): Live<Curves> {
  return useTopic<Curves>(service === undefined ? undefined : `series:${service}:${by}`);
}

/** Whether control is there: what the page's banner says. */
export function useCondition(): { condition: Condition; why?: string } {
  const [, turn] = useState(0);
  useEffect(() => {
    const look = () => turn((n) => n + 1);
    wire.watchers.add(look);
    look();
    return () => void wire.watchers.delete(look);
  }, []);
  return wire;
}

/** What one GET answered; it is asked again when path or query change, and every so many ms where that is given, while control is
 * there and the page is seen. With past, it is asked for the last so many seconds as they are at each time. */
export function useGet<T>(path: string | undefined, query?: Query, every?: number, past?: number): { value?: T; refusal?: Refusal; again(): void } {
  const [state, set] = useState<{ of?: string; value?: T; refusal?: Refusal }>({});
  const [turn, next] = useState(0);
  const what = path === undefined ? undefined : path + JSON.stringify([query, past]);
  useEffect(() => {
    if (path === undefined) return;
    const stop = new AbortController();
    let timer = 0;
    const ask = async () => {
      try {
        const now = Math.floor(Date.now() / 1000);
        const range = past === undefined ? {} : { from: now - past, to: now };
        const idle = every !== undefined && (document.hidden || wire.condition === 'away');
        if (!idle) set({ of: what, value: await get<T>(path, { ...query, ...range }, stop.signal) });
      } catch (e) {
        if (stop.signal.aborted) return;
        set((was) => ({ of: what, value: was.of === what ? was.value : undefined, refusal: e instanceof Refusal ? e : new Refusal(0, String(e)) }));
      }
      if (every && !stop.signal.aborted) timer = window.setTimeout(() => void ask(), every);
    };
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [what, every, turn]);
  const fresh = state.of === what ? state : {};
  return { value: fresh.value, refusal: fresh.refusal, again: () => next((n) => n + 1) };
}
