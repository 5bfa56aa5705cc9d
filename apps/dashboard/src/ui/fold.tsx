import { useState, type ReactNode } from 'react';

interface FoldProps {
  readonly title: ReactNode;
  /** Why to look inside; each new reason opens the fold, and only the user closes it. */
  readonly reason: object | boolean | null;
  readonly className?: string;
  readonly children: ReactNode;
}

/** What is one click away. */
export function Fold({ title, reason, className, children }: FoldProps) {
  const [open, setOpen] = useState(Boolean(reason));
  const [seen, setSeen] = useState(reason);
  // Not in an effect: the field that is wrong must be in sight when it is given the focus.
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
