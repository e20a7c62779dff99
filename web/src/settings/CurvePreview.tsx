import { percent, seconds } from '../format';
import { Notice } from '../ui/parts';
import { shareAt } from '../instances/curve';
import { aggressionOf, type StartValues } from './model';

const width = 320;
const height = 132;
const left = 40;
const bottom = 22;
const top = 8;
const right = 10;

/** The share of a new instance over time, as these settings would have it: a line, and the same in words. Where a DestinationRule says
 * otherwise, that is said first: it is not what will happen there. */
export function CurvePreview({ values: v, instead }: { values: StartValues; instead: readonly string[] }) {
  const delay = v.enabled && v.delay_s > 0 ? v.delay_s : 0;
  const window = v.enabled && v.warmup_s > 0 ? v.warmup_s : 0;
  const span = Math.max(1, (delay + window) * 1.18);
  const share = (t: number): number => (t < delay ? 0 : shareAt({ window_ns: window * 1e9, minimum: v.minimum_percent / 100, aggression: aggressionOf(v) }, t - delay));
  const x = (t: number): number => left + (t / span) * (width - left - right);
  const y = (s: number): number => top + (1 - s) * (height - top - bottom);
  const points = Array.from({ length: 121 }, (_, i) => (i / 120) * span);
  const line = `M${x(0)} ${y(0)}` + (delay > 0 ? `L${x(delay)} ${y(0)}L${x(delay)} ${y(share(delay))}` : `L${x(0)} ${y(share(0))}`) + points.filter((t) => t > delay).map((t) => `L${x(t).toFixed(1)} ${y(share(t)).toFixed(1)}`).join('');
  const quarter = [0.25, 0.5, 0.75].map((p) => `${Math.round(share(delay + p * window) * 100)} %`);
  const words = !v.enabled || window === 0
    ? `Its whole share at once${delay > 0 ? `, ${seconds(delay)} after it can serve` : ''}.`
    : `${delay > 0 ? `Nothing for ${seconds(delay)}, then ` : 'From '}${percent(share(delay), 0)} to its whole share in ${seconds(window)}: ${quarter.join(', ')} at a quarter, a half and three quarters of the way.`;
  return (
    <div class={instead.length > 0 ? 'curve-preview beside' : 'curve-preview'}>
      {instead.length > 0 && <Notice tone="warn">Not this, but what a DestinationRule says: {instead.join('; ')}.</Notice>}
      <svg viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
        {[0, 0.5, 1].map((s) => <g key={s}><line class="grid" x1={left} x2={width - right} y1={y(s)} y2={y(s)} /><text x={left - 6} y={y(s) + 3.5} text-anchor="end">{percent(s, 0)}</text></g>)}
        {delay > 0 && <rect class="delay" x={x(0)} y={top} width={x(delay) - x(0)} height={height - top - bottom} />}
        <path class="area" d={`${line}L${x(span)} ${y(0)}Z`} />
        <path class="line" d={line} />
        {delay > 0 && <text x={x(delay)} y={height - 7} text-anchor="middle">{seconds(delay)}</text>}
        {window > 0 && <><line class="end" x1={x(delay + window)} x2={x(delay + window)} y1={top} y2={height - bottom} /><text x={x(delay + window)} y={height - 7} text-anchor="middle">{seconds(delay + window)}</text></>}
        <text x={left} y={height - 7} text-anchor="middle">0</text>
      </svg>
      <p class="small quiet">
        {instead.length > 0 ? `By this form alone: ${words.charAt(0).toLowerCase()}${words.slice(1)}` : words}
      </p>
    </div>
  );
}
