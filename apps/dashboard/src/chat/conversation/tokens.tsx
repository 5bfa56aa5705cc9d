import { useState, type KeyboardEvent } from 'react';
import type { Token } from './exchange.js';

/** Share of color of a token with probability 0, in percent. More would make the text hard to read. */
const STRONGEST = 45;
/** Tokens with at least this probability have no color. */
const SURE = 0.95;

const shareOf = (logprob: number): number => Math.exp(logprob);

export const percent = (share: number): string =>
  share >= 0.9995 ? '100 %' : share < 0.001 ? '< 0.1 %' : `${(100 * share).toFixed(1)} %`;

/** Background of a token: the less likely, the stronger. */
export function tint(logprob: number): string | undefined {
  const share = shareOf(logprob);
  if (share >= SURE) return undefined;
  return `color-mix(in srgb, var(--series-2) ${Math.round(STRONGEST * (1 - share))}%, transparent)`;
}

/** Makes spaces and line breaks of a token visible. */
const visible = (token: string): string =>
  token.replaceAll('\n', '⏎').replaceAll('\t', '⇥').replaceAll(' ', '␣');

/**
 * An answer token by token, colored by probability. The token under the pointer or with the focus shows
 * the other tokens that the model considered. Left and right move between tokens.
 */
export function Tokens({ tokens }: { tokens: readonly Token[] }) {
  const [at, setAt] = useState<number | null>(null);
  const move = (event: KeyboardEvent<HTMLElement>) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const next = Math.min(Math.max((at ?? 0) + by, 0), tokens.length - 1);
    event.currentTarget.querySelectorAll('button')[next]?.focus();
  };
  const shown = at === null ? undefined : tokens[at];
  return (
    <>
      <div className="tokens" role="group" aria-label="Tokens" onKeyDown={move}>
        {tokens.map(({ token, logprob }, n) => (
          <button
            key={n}
            type="button"
            className={n === at ? 'token on' : 'token'}
            tabIndex={n === (at ?? 0) ? 0 : -1}
            style={{ background: tint(logprob) }}
            aria-label={`${visible(token)}, ${percent(shareOf(logprob))}`}
            onFocus={() => setAt(n)}
            onPointerEnter={() => setAt(n)}
          >
            {token}
          </button>
        ))}
      </div>
      <div className="alternatives" aria-live="polite">
        {shown ? (
          <Alternatives token={shown} />
        ) : (
          <p className="faint">
            The stronger the color, the less sure the model was. Point at a word to see what else it
            considered.
          </p>
        )}
      </div>
    </>
  );
}

/** Most likely tokens at one position, with the chosen one marked. */
function Alternatives({ token: { token, logprob, top_logprobs: top } }: { token: Token }) {
  const isListed = top.some((one) => one.token === token);
  const rows = isListed ? top : [...top, { token, logprob }];
  return (
    <ul aria-label="Alternatives">
      {rows.map((one, n) => (
        <li key={n} className={one.token === token ? 'on' : undefined}>
          <code>{visible(one.token) || '∅'}</code>
          <span className="share-bar">
            <span style={{ width: `${100 * shareOf(one.logprob)}%` }} />
          </span>
          <span className="numbers">{percent(shareOf(one.logprob))}</span>
        </li>
      ))}
    </ul>
  );
}
