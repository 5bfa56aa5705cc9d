import { Dialog } from '@base-ui/react/dialog';
import { X } from 'lucide-react';
import { useRef, useState, type ComponentProps, type ReactElement, type ReactNode } from 'react';

interface Props {
  /** Button that opens it. */
  readonly trigger: ReactElement<ComponentProps<'button'>>;
  readonly children: (close: () => void) => ReactNode;
}

/** Navigation on a phone, in a drawer that is open at first. */
export function PhoneNavigation({ trigger, children }: Props) {
  const [isOpen, setOpen] = useState(true);
  // After navigation the new page takes the focus. Otherwise it returns to the button.
  const went = useRef(false);
  const change = (open: boolean) => {
    went.current = false;
    setOpen(open);
  };
  return (
    <Dialog.Root open={isOpen} onOpenChange={change}>
      <Dialog.Trigger render={trigger} />
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup
          className="drawer left side"
          aria-label="Menu"
          finalFocus={() => !went.current}
          onClick={({ target }) => {
            const link = target instanceof Element ? target.closest('a') : null;
            if (!link) return;
            went.current = link.pathname !== location.pathname;
            setOpen(false);
          }}
        >
          <Dialog.Close className="quiet icon" aria-label="Close menu">
            <X />
          </Dialog.Close>
          {children(() => setOpen(false))}
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
