import { Dialog } from '@base-ui/react/dialog';
import { X } from 'lucide-react';
import type { ReactNode } from 'react';

interface DrawerProps {
  readonly title: string;
  readonly close: () => void;
  /** Actions at the top, before the close button. */
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}

/** Panel at the right edge with details of one thing, open while mounted. */
export function Drawer({ title, close, actions, children }: DrawerProps) {
  return (
    <Dialog.Root open onOpenChange={(open) => open || close()}>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className="drawer right">
          <div className="bar">
            <Dialog.Title className="break">{title}</Dialog.Title>
            <span className="grow" />
            {actions}
            <Dialog.Close className="quiet icon" aria-label="Close">
              <X />
            </Dialog.Close>
          </div>
          {children}
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
