import { useState } from 'react';
import { count } from '../format.js';
import '../media/media.css';

const SHOWN = 12;

type Counts = Readonly<Record<string, number>>;

/** Labels and how many records have each, most first. */
export const byCount = (labels: Counts): readonly (readonly [label: string, n: number])[] =>
  Object.entries(labels).sort(([x, a], [y, b]) => b - a || x.localeCompare(y));

/** How often each label occurs, beside the most frequent one. */
export function LabelShares({ labels }: { labels: Counts }) {
  const [all, setAll] = useState(false);
  const sorted = byCount(labels);
  const most = sorted[0]?.[1] ?? 0;
  return (
    <section aria-label="Labels">
      <h2>Labels</h2>
      <ul className="shares">
        {sorted.slice(0, all ? undefined : SHOWN).map(([label, n]) => (
          <li key={label}>
            <span>{label}</span>
            <meter value={n} max={most} aria-label={`Records labeled ${label}`} />
            <span className="numbers">{count(n)}</span>
          </li>
        ))}
      </ul>
      {!all && sorted.length > SHOWN && (
        <button className="small" onClick={() => setAll(true)}>
          Show all {count(sorted.length)} labels
        </button>
      )}
    </section>
  );
}
