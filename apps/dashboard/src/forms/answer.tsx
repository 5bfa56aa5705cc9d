import { createContext, useContext, useState, type ReactNode } from 'react';
import { Button } from '../ui/controls/button.js';

/** Number of problems whose link was followed. Each opens the section of its field again. */
export const FocusRequests = createContext(0);

/**
 * Whether a section is open. Each new reason opens it; only the user closes it.
 * @param reason error within the section, or the start value of a section without an answer
 */
export function useOpen(reason: object | boolean | null) {
  const [isOpen, setOpen] = useState(Boolean(reason));
  const requests = useContext(FocusRequests);
  const [seen, setSeen] = useState({ reason, requests });
  // Not in an effect, because an invalid field must be visible before it receives the focus.
  if (reason !== seen.reason || requests !== seen.requests) {
    setSeen({ reason, requests });
    if (reason) setOpen(true);
  }
  return [isOpen, setOpen] as const;
}

interface AnswerProps {
  readonly title: string;
  /** The answer in one line. */
  readonly line?: ReactNode;
  /** Label of the button that opens and closes the section; null if the section stays open. */
  readonly more: string | null;
  readonly isOpen: boolean;
  readonly setOpen: (isOpen: boolean) => void;
  /** Content that is always visible, below the line. */
  readonly pinned?: ReactNode;
  readonly children?: ReactNode;
}

/** A section of a form that answers itself and collapses to one line. */
export function Answer({ title, line, more, isOpen, setOpen, pinned, children }: AnswerProps) {
  return (
    <section className="form-section" aria-label={title}>
      <h2>{title}</h2>
      <div className="form-section-line">{line}</div>
      {more !== null && (
        <Button
          size="s"
          aria-expanded={isOpen}
          aria-label={`${isOpen ? 'Close' : more}: ${title}`}
          onClick={() => setOpen(!isOpen)}
        >
          {isOpen ? 'Close' : more}
        </Button>
      )}
      {pinned && <div className="form-section-pinned">{pinned}</div>}
      {isOpen && children && <div className="form-section-body">{children}</div>}
    </section>
  );
}
