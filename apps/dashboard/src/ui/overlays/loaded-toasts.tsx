import { Toast } from '@base-ui/react/toast';
import { X } from 'lucide-react';
import { useEffect } from 'react';
import type { Message } from './toasts.js';

/**
 * Milliseconds that a toast stays, long enough to read it and reach its button. Its action is also
 * available elsewhere.
 */
const SHOWN_MS = 15_000;

/** The latest message, until its time is over. */
export const LoadedToasts = ({ message }: { message: Message }) => (
  <Toast.Provider limit={1}>
    <Toast.Portal>
      <Toast.Viewport className="toasts">
        <Shown message={message} />
      </Toast.Viewport>
    </Toast.Portal>
  </Toast.Provider>
);

function Shown({ message }: { message: Message }) {
  const { toasts, add, close } = Toast.useToastManager();
  useEffect(() => {
    const { title, undo } = message;
    const refused = ({ message: reason }: Error) =>
      void add({
        title: `Could not be undone: ${reason}`,
        timeout: SHOWN_MS,
        priority: 'high',
      });
    close();
    const id = add({
      title,
      timeout: SHOWN_MS,
      ...(undo && {
        actionProps: {
          children: 'Undo',
          className: 'small',
          onClick: () => {
            close(id);
            undo().catch(refused);
          },
        },
      }),
    });
  }, [message, add, close]);
  return toasts.map((toast) => (
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
}
