import { Toast } from '@base-ui/react/toast';
import { useCallback, type ReactNode } from 'react';

/** Long enough to read it and reach the button; what it offers is to be had elsewhere afterwards, too. */
const SHOWN_MS = 15_000;

/** Says what was just done, in place of what was done before, and takes it back. Why that was refused is said on whatever page is there by then. */
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
          className: 'main',
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

/** Where toasts of all pages are shown. */
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
        <Toast.Close className="quiet" aria-label="Close">
          ×
        </Toast.Close>
      </Toast.Content>
    </Toast.Root>
  ));
