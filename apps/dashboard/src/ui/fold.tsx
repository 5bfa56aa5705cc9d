import { useState, type ReactNode } from 'react';

interface FoldProps {
  readonly title: ReactNode;
  /** Reason to open. Each new reason opens the fold; only the user closes it. */
  readonly reason: object | boolean | null;
  readonly className?: string;
  readonly children: ReactNode;
}

/** Collapsible section. */
export function Fold({ title, reason, className, children }: FoldProps) {
  const [open, setOpen] = useState(Boolean(reason));
  const [seen, setSeen] = useState(reason);
  // Not in an effect, because an invalid field must be visible before it receives the focus.
  if (reason !== seen) {
    setSeen(reason);
    if (reason) setOpen(true);
  }
  return (
    <details
      className={className}
      open={open}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>{title}</summary>
      {children}
    </details>
  );
}
