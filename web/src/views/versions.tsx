import { memo } from 'preact/compat';
import type { VersionRow } from '../api';
import { percent } from '../format';
import { series } from '../ui/theme';
import { versionName } from './words';

const told = 3;

/** How a service's requests are split among its versions: a bar, and words for it. Each version has the colour of its curve. */
export const VersionBar = memo(function VersionBar({ of }: { of: VersionRow[] }) {
  if (of.length === 0) return <span class="zero">–</span>;
  const some = of.some((v) => v.fraction > 0);
  const text = of.map((v) => `${versionName(v.name)} ${some ? percent(v.fraction, 0) : ''}`.trim());
  return (
    <span class="versions" title={text.join(', ')}>
      <span class="bar">
        {some && of.map((v, i) => v.fraction > 0 && <i key={v.name} style={{ width: `${v.fraction * 100}%`, color: `var(${series(i)})` }} />)}
      </span>
      <small class="clip">{text.slice(0, told).join(' · ')}{of.length > told ? ` · ${of.length - told} more` : ''}</small>
    </span>
  );
});
