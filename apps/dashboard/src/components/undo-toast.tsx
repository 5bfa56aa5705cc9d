import { useEffect } from 'react';

export interface Undoable {
  /** What was done. */
  readonly text: string;
  readonly undo: () => void;
}

/** Long enough to read it and reach the button; what it offers is to be had elsewhere afterwards, too. */
const SHOWN_MS = 15_000;

/** Says what was just done, and takes it back. */
export function UndoToast({ done, close }: { done: Undoable | null; close: () => void }) {
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(close, SHOWN_MS);
    return () => clearTimeout(timer);
  }, [done, close]);
  return (
    <div className="toast" role="status">
      {done && (
        <div className="card">
          {done.text}{' '}
          <button
            className="main"
            onClick={() => {
              done.undo();
              close();
            }}
          >
            Undo
          </button>
          <button className="quiet" aria-label="Close" onClick={close}>
            ×
          </button>
        </div>
      )}
    </div>
  );
}
