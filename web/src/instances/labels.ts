/** Something to be named at a place of a line. */
export interface Label {
  x: number;
  width: number;
}

/** Where a label stands: its left edge, and its lane, 0 nearest to the chart. */
export interface Place {
  left: number;
  lane: number;
}

/**
 * Places labels in lanes above a chart. A label stands to the right of its x, or to the left of it where there is no room, and above
 * every later label that it would touch: so none touches another, those of one moment read downwards in their order, and the line from
 * a label down to the chart meets no label that stands to the right of its own x. None stands outside of 0 to `width`. A label that no
 * lane has room for is null: its line still stands, and the list beneath the chart names it. Labels must be ascending by x; what is
 * returned is in their order.
 */
export function place(labels: readonly Label[], width: number, lanes: number, gap = 8): (Place | null)[] {
  const out = new Array<Place | null>(labels.length).fill(null);
  for (let i = labels.length - 1; i >= 0; i--) {
    const { x, width: w } = labels[i]!;
    const left = x + w <= width ? x : x - w;
    let lane = 0;
    for (let j = i + 1; j < labels.length; j++) {
      const later = out[j];
      if (later && left < later.left + labels[j]!.width + gap && later.left < left + w + gap) lane = Math.max(lane, later.lane + 1);
    }
    if (left >= 0 && left + w <= width && lane < lanes) out[i] = { left, lane };
  }
  return out;
}
