import type { FleetEvent } from '../api';

/** Events by when they were, the newest first. They are kept as they were heard, and agents tell some late. */
export function newestFirst(events: readonly FleetEvent[]): FleetEvent[] {
  return events.map((e) => ({ e, at: Date.parse(e.time) })).sort((a, b) => b.at - a.at).map(({ e }) => e);
}
