import { useState } from 'react';
import { count } from '../format.js';
import '../media/media.css';
import { Section } from '../ui/page.js';

const SHOWN = 12;

type Counts = Readonly<Record<string, number>>;

/** Returns labels with their number of records, largest first. */
export const byCount = (labels: Counts): readonly (readonly [label: string, n: number])[] =>
  Object.entries(labels).sort(([x, a], [y, b]) => b - a || x.localeCompare(y));

/** Bars that compare how often each label occurs, relative to the most frequent one. */
export function LabelShares({ labels }: { labels: Counts }) {
  const [all, setAll] = useState(false);
  const sorted = byCount(labels);
  const most = sorted[0]?.[1] ?? 0;
  return (
    <Section title="Labels">
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
    </Section>
  );
}
