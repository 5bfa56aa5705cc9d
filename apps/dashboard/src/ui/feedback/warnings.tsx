import type { JobWarning } from '@graft/contracts';
import { count } from '../../format.js';

/** Warnings that users should read before they trust a result. */
export function Warnings({ warnings }: { warnings: readonly JobWarning[] }) {
  if (warnings.length === 0) return null;
  return (
    <ul className="notice warn" aria-label="Warnings">
      {warnings.map(({ code, message, step }) => (
        <li key={`${code} ${step}`}>
          <b>
            <span aria-hidden="true">⚠</span> Warning
          </b>{' '}
          {step !== null && <span className="faint">step {count(step)}: </span>}
          {message}
        </li>
      ))}
    </ul>
  );
}
