import type { ComparisonProps } from './embed-box.js';
import { cosine } from './geometry.js';

/** More rows would not fit on the screen. */
const MOST = 24;
/** Share of color of a similarity of 1, in percent. More would make the numbers hard to read. */
const STRONGEST = 55;

/** Similarities of all pairs of texts. */
export function SimilarityMatrix({ texts, vectors, chosen, choose }: ComparisonProps) {
  const shown = texts.slice(0, MOST);
  return (
    <>
      <div className="matrix-scroll" tabIndex={0}>
        <table className="similarity-matrix" aria-label="Similarities">
          <thead>
            <tr>
              <td />
              {shown.map((text, n) => (
                <th key={n} scope="col" title={text}>
                  {n + 1}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((text, i) => (
              <tr key={i} className={i === chosen ? 'chosen' : undefined}>
                <th scope="row">
                  <button type="button" className="text" title={text} onClick={() => choose(i)}>
                    {i + 1}. {text}
                  </button>
                </th>
                {shown.map((other, j) => {
                  const value = cosine(vectors[i] ?? [], vectors[j] ?? []);
                  return (
                    <td
                      key={j}
                      className="numbers"
                      title={`${text} / ${other}`}
                      style={{ background: tint(value) }}
                    >
                      {value.toFixed(2)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {texts.length > MOST && <p className="faint">The first {MOST} texts.</p>}
    </>
  );
}

const tint = (similarity: number): string =>
  `color-mix(in srgb, var(--series-1) ${Math.round(STRONGEST * Math.max(similarity, 0))}%, transparent)`;
