import { memo } from 'preact/compat';

/** A curve of some seconds without axes: what it was lately, at a glance. The number beside it says how much. */
export const Spark = memo(function Spark(p: { values: readonly number[]; width?: number; height?: number; label: string }) {
  const { width = 96, height = 24, values } = p;
  const max = Math.max(1e-9, ...values.map((v) => v || 0)) * 1.15;
  const points = values.map((v, i) => `${((i / Math.max(1, values.length - 1)) * width).toFixed(1)} ${(height - 2 - ((v || 0) / max) * (height - 4)).toFixed(1)}`);
  if (points.length < 2) return null;
  const line = `M${points.join('L')}`;
  return (
    <svg class="spark" width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={p.label}>
      <path class="area" d={`${line}L${width} ${height}L0 ${height}Z`} />
      <path d={line} />
    </svg>
  );
});
