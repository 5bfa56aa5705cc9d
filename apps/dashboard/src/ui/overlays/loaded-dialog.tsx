// Dialogs of modal.tsx, drawer.tsx and confirm.tsx, which load this code when the first one opens.
import { AlertDialog } from '@base-ui/react/alert-dialog';
import { Dialog } from '@base-ui/react/dialog';
import { X } from 'lucide-react';
import type { DrawerProps } from './drawer.js';
import type { ModalProps } from './modal.js';

export function LoadedModal({ label, className = '', close, children }: ModalProps) {
  return (
    <Dialog.Root open onOpenChange={(open) => open || close()}>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className={`card dialog ${className}`} aria-label={label}>
          {children}
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

export function LoadedDrawer({ title, close, actions, children }: DrawerProps) {
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

interface ConfirmationProps {
  readonly question: string;
  /** Consequences. */
  readonly rest: string;
  readonly dismissal: string;
  readonly action: string;
  readonly isDanger: boolean;
  readonly isOpen: boolean;
  readonly confirm: () => void;
  readonly close: () => void;
}

export function LoadedConfirmation(props: ConfirmationProps) {
  const { question, rest, dismissal, action, isDanger, isOpen, confirm, close } = props;
  return (
    <AlertDialog.Root open={isOpen} onOpenChange={(open) => open || close()}>
      <AlertDialog.Portal>
        <AlertDialog.Backdrop className="backdrop" />
        <AlertDialog.Popup className="card dialog">
          <AlertDialog.Title className="break">{question}</AlertDialog.Title>
          <AlertDialog.Description className="pre">{rest}</AlertDialog.Description>
          <div className="bar">
            <span className="grow" />
            <AlertDialog.Close>{dismissal}</AlertDialog.Close>
            <AlertDialog.Close className={isDanger ? 'danger' : 'main'} onClick={confirm}>
              {action}
            </AlertDialog.Close>
          </div>
        </AlertDialog.Popup>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  );
}
