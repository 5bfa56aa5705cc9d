import type { ReactNode } from 'react';

interface EmptyStateProps {
  readonly icon?: ReactNode;
  readonly title: string;
  /** One or two sentences. */
  readonly text: ReactNode;
  /** The button that does the next thing, and possibly one more. */
  readonly actions?: ReactNode;
  /** A sample, such as three lines of a file. */
  readonly children?: ReactNode;
}

/** Placeholder for an empty list: what belongs here, and the button that starts it. */
export function EmptyState({ icon, title, text, actions, children }: EmptyStateProps) {
  return (
    <div className="empty">
      {icon && (
        <span className="empty-icon" aria-hidden="true">
          {icon}
        </span>
      )}
      <h2>{title}</h2>
      <p>{text}</p>
      {actions && <div className="empty-actions">{actions}</div>}
      {children}
    </div>
  );
}
