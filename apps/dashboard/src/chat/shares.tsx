import { useState } from 'react';
import type { Shares } from './text/label-answer.js';

const FEW = 8;

/** Formats a probability: "97.3 %". */
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** A horizontal bar for a value from 0 to 1. */
export const Bar = ({ share, isChosen = true }: { share: number; isChosen?: boolean }) => (
  <span className={isChosen ? 'bar-track' : 'bar-track other'} aria-hidden="true">
    <span style={{ width: `${100 * Math.min(Math.max(share, 0), 1)}%` }} />
  </span>
);

interface BarsProps {
  readonly shares: Shares;
  /** Labels that the model chose. */
  readonly chosen: readonly string[];
}

/** Labels as bars, most likely first. */
export function ShareBars({ shares, chosen }: BarsProps) {
  const [all, setAll] = useState(false);
  const shown = all ? shares : shares.slice(0, FEW);
  return (
    <>
      <ul className="share-bars" aria-label="Probabilities">
        {shown.map(([label, share]) => (
          <li key={label} className={chosen.includes(label) ? 'on' : undefined}>
            <span className="break">{label}</span>
            <Bar share={share} isChosen={chosen.includes(label)} />
            <span className="numbers">{percent(share)}</span>
          </li>
        ))}
      </ul>
      {shares.length > FEW && (
        <button type="button" className="text" onClick={() => setAll(!all)}>
          {all ? `Show ${FEW} only` : `Show all ${shares.length}`}
        </button>
      )}
    </>
  );
}
