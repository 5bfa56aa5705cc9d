import type { ReactNode } from 'react';

interface StatProps {
  readonly label: ReactNode;
  readonly value: ReactNode;
  /** A comparison or an explanation, such as "chance 17 %" or "best at step 120". */
  readonly note?: ReactNode;
  readonly tone?: 'good' | 'bad' | 'warn';
  readonly title?: string;
}

/** A large number with its label. Several are children of `Stats`. */
export function Stat({ label, value, note, tone, title }: StatProps) {
  return (
    <div className={`stat ${tone ?? ''}`} title={title}>
      <dt>{label}</dt>
      <dd>{value}</dd>
      {note !== undefined && <dd className="stat-note">{note}</dd>}
    </div>
  );
}

/** A row of numbers that share their width. */
export const Stats = ({ label, children }: { label?: string; children: ReactNode }) => (
  <dl className="stats" aria-label={label}>
    {children}
  </dl>
);
