import { AlertDialog } from '@base-ui/react/alert-dialog';
import { createContext, useContext, useState, type ReactNode } from 'react';

interface Question {
  /** What is asked, and what is lost by it: "Delete x? This cannot be undone." */
  readonly words: string;
  /** What the button says that does it. */
  readonly deed: string;
  readonly work: () => unknown;
}

type Confirm = (words: string, deed: string, work: () => unknown) => void;
const Asking = createContext<Confirm>(() => undefined);

/** Asks before something is done that cannot be taken back. */
export const useConfirm = (): Confirm => useContext(Asking);

/** "Delete x?", and the rest. */
function partsOf(words: string): readonly [question: string, rest: string] {
  const end = words.indexOf('? ') + 1;
  return end === 0 ? [words, ''] : [words.slice(0, end), words.slice(end).trim()];
}

/** Where the questions of all pages are asked: one at a time, above the page. */
export function Confirmations({ children }: { children: ReactNode }) {
  const [asked, setAsked] = useState<Question | null>(null);
  const [question, rest] = partsOf(asked?.words ?? '');
  return (
    <Asking value={(words, deed, work) => setAsked({ words, deed, work })}>
      {children}
      <AlertDialog.Root open={asked !== null} onOpenChange={(open) => open || setAsked(null)}>
        <AlertDialog.Portal>
          <AlertDialog.Backdrop className="backdrop" />
          <AlertDialog.Popup className="card dialog">
            <AlertDialog.Title className="break">{question}</AlertDialog.Title>
            <AlertDialog.Description className="pre">{rest}</AlertDialog.Description>
            <div className="bar">
              <span className="grow" />
              <AlertDialog.Close>Leave it</AlertDialog.Close>
              <AlertDialog.Close className="main" onClick={() => asked?.work()}>
                {asked?.deed}
              </AlertDialog.Close>
            </div>
          </AlertDialog.Popup>
        </AlertDialog.Portal>
      </AlertDialog.Root>
    </Asking>
  );
}
