import { useMemo, useState } from 'react';
import type { ComparisonProps } from './embed-box.js';
import { cosine, project } from './geometry.js';

const WIDTH = 640;
const HEIGHT = 400;
const MARGIN = 28;

/** Texts on a plane: the closer, the more similar. */
export function SimilarityMap({ texts, vectors, chosen, choose }: ComparisonProps) {
  const places = useMemo(() => fitted(project(vectors)), [vectors]);
  const [pointed, setPointed] = useState<number | null>(null);
  const shown = pointed ?? chosen;
  return (
    <>
      <svg
        className="similarity-map"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="group"
        aria-label={`Map of ${texts.length} texts`}
      >
        {places.map(([x, y], n) => (
          <g
            key={n}
            role="button"
            tabIndex={0}
            aria-label={texts[n]}
            aria-pressed={n === chosen}
            className={n === chosen ? 'point chosen' : 'point'}
            onClick={() => choose(n)}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' && event.key !== ' ') return;
              event.preventDefault();
              choose(n);
            }}
            onPointerEnter={() => setPointed(n)}
            onPointerLeave={() => setPointed(null)}
            onFocus={() => setPointed(n)}
            onBlur={() => setPointed(null)}
          >
            <circle cx={x} cy={y} r={12} className="target" />
            <circle cx={x} cy={y} r={n === chosen ? 7 : 5} />
          </g>
        ))}
      </svg>
      <p className="map-text">
        <b className="break">{texts[shown]}</b>
        {shown !== chosen && (
          <span className="faint numbers">
            {' '}
            similarity to the chosen text{' '}
            {cosine(vectors[chosen] ?? [], vectors[shown] ?? []).toFixed(3)}
          </span>
        )}
      </p>
      <p className="faint">
        The two directions in which the texts differ most (PCA). The axes have no unit.
      </p>
    </>
  );
}

/** Scales points to the drawing, by the same factor in both directions. */
function fitted(
  points: readonly (readonly [number, number])[],
): readonly (readonly [number, number])[] {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const scale = Math.min(
    (WIDTH - 2 * MARGIN) / (right - left || 1),
    (HEIGHT - 2 * MARGIN) / (high - low || 1),
  );
  return points.map(([x, y]) => [
    WIDTH / 2 + scale * (x - (left + right) / 2),
    HEIGHT / 2 - scale * (y - (low + high) / 2),
  ]);
}
