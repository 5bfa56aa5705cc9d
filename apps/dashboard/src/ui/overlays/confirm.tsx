import { createContext, lazy, Suspense, useContext, useState, type ReactNode } from 'react';

interface Question {
  /** Question and consequences: "Delete x? This cannot be undone." */
  readonly message: string;
  /** Label of the button that confirms. */
  readonly action: string;
  readonly work: () => unknown;
  readonly isDanger: boolean;
}

interface ConfirmOptions {
  /** False if nothing is lost or stopped. The default is true: the button is red. */
  readonly isDanger?: boolean;
}

type Confirm = (
  message: string,
  action: string,
  work: () => unknown,
  options?: ConfirmOptions,
) => void;
const LoadedConfirmation = lazy(async () => ({
  default: (await import('./loaded-dialog.js')).LoadedConfirmation,
}));

const Asking = createContext<Confirm>(() => undefined);

/** Returns a function that asks for confirmation before it calls `work`. */
export const useConfirm = (): Confirm => useContext(Asking);

/** Splits a message into its question ("Delete x?") and the rest. */
function partsOf(message: string): readonly [question: string, rest: string] {
  const end = message.indexOf('? ') + 1;
  return end === 0 ? [message, ''] : [message.slice(0, end), message.slice(end).trim()];
}

/** Label of the button that dismisses: "Cancel", or "Keep job" for "Cancel job". */
const dismissal = (action: string): string =>
  action.startsWith('Cancel ') ? action.replace('Cancel', 'Keep') : 'Cancel';

/** Provider of confirmation dialogs, one at a time, above the page. */
export function Confirmations({ children }: { children: ReactNode }) {
  const [asked, setAsked] = useState<Question | null>(null);
  const [isOpen, setOpen] = useState(false);
  const [question, rest] = partsOf(asked?.message ?? '');
  return (
    <Asking
      value={(message, action, work, { isDanger = true } = {}) => {
        setAsked({ message, action, work, isDanger });
        setOpen(true);
      }}
    >
      {children}
      {asked && (
        <Suspense>
          <LoadedConfirmation
            {...{ question, rest, isOpen }}
            action={asked.action}
            dismissal={dismissal(asked.action)}
            isDanger={asked.isDanger}
            confirm={() => void asked.work()}
            close={() => setOpen(false)}
          />
        </Suspense>
      )}
    </Asking>
  );
}
