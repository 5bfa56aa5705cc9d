import { AlertDialog } from '@base-ui/react/alert-dialog';
import { createContext, useContext, useState, type ReactNode } from 'react';

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
  const [pending, setPending] = useState<Question | null>(null);
  const [question, rest] = partsOf(pending?.message ?? '');
  return (
    <Asking
      value={(message, action, work, { isDanger = true } = {}) =>
        setPending({ message, action, work, isDanger })
      }
    >
      {children}
      <AlertDialog.Root open={pending !== null} onOpenChange={(open) => open || setPending(null)}>
        <AlertDialog.Portal>
          <AlertDialog.Backdrop className="backdrop" />
          <AlertDialog.Popup className="card dialog">
            <AlertDialog.Title className="break">{question}</AlertDialog.Title>
            <AlertDialog.Description className="pre">{rest}</AlertDialog.Description>
            <div className="bar">
              <span className="grow" />
              <AlertDialog.Close>{dismissal(pending?.action ?? '')}</AlertDialog.Close>
              <AlertDialog.Close
                className={pending?.isDanger ? 'danger' : 'main'}
                onClick={() => pending?.work()}
              >
                {pending?.action}
              </AlertDialog.Close>
            </div>
          </AlertDialog.Popup>
        </AlertDialog.Portal>
      </AlertDialog.Root>
    </Asking>
  );
}
