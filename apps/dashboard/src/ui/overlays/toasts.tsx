import { Toast } from '@base-ui/react/toast';
import { X } from 'lucide-react';
import { useCallback, type ReactNode } from 'react';

/**
 * Milliseconds that a toast stays, long enough to read it and reach its button. Its action is also
 * available elsewhere.
 */
const SHOWN_MS = 15_000;

/**
 * Returns a function that shows a toast with an undo button, replacing the previous toast. If
 * undoing fails, the error is shown on whatever page is then open.
 */
export function useUndo(): (done: string, undo: () => Promise<void>) => void {
  const { add, close } = Toast.useToastManager();
  return useCallback(
    (done, undo) => {
      const refused = ({ message }: Error) =>
        void add({
          title: `Could not be undone: ${message}`,
          timeout: SHOWN_MS,
          priority: 'high',
        });
      close();
      const id = add({
        title: done,
        timeout: SHOWN_MS,
        actionProps: {
          children: 'Undo',
          className: 'small',
          onClick: () => {
            close(id);
            undo().catch(refused);
          },
        },
      });
    },
    [add, close],
  );
}

/** Returns a function that shows a short message, replacing the previous one. */
export function useToast(): (message: string) => void {
  const { add } = Toast.useToastManager();
  return useCallback((title) => void add({ title, timeout: SHOWN_MS }), [add]);
}

/** Provider of the toasts of all pages. */
export function Toasts({ children }: { children: ReactNode }) {
  return (
    <Toast.Provider limit={1}>
      {children}
      <Toast.Portal>
        <Toast.Viewport className="toasts">
          <Shown />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  );
}

const Shown = () =>
  Toast.useToastManager().toasts.map((toast) => (
    <Toast.Root key={toast.id} toast={toast} className="card toast">
      <Toast.Content className="bar">
        <Toast.Title render={<span />} />
        <Toast.Action />
        <Toast.Close className="quiet icon small" aria-label="Close">
          <X />
        </Toast.Close>
      </Toast.Content>
    </Toast.Root>
  ));
