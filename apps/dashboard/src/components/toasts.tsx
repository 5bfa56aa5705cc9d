import { Toast } from '@base-ui/react/toast';
import { useCallback, type ReactNode } from 'react';

/** Long enough to read it and reach the button; what it offers is to be had elsewhere afterwards, too. */
const SHOWN_MS = 15_000;

/** Says what was just done, and takes it back. */
export function useUndo(): (done: string, undo: () => void) => void {
  const { add, close } = Toast.useToastManager();
  return useCallback(
    (done, undo) => {
      const id = add({
        title: done,
        timeout: SHOWN_MS,
        actionProps: {
          children: 'Undo',
          className: 'main',
          onClick: () => {
            undo();
            close(id);
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
