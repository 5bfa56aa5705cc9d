import { lazy, Suspense, type ReactNode } from 'react';

export interface ModalProps {
  readonly label: string;
  readonly className?: string;
  readonly close: () => void;
  readonly children: ReactNode;
}

const LoadedModal = lazy(async () => ({
  default: (await import('./loaded-dialog.js')).LoadedModal,
}));

/** Dialog that is open while mounted. It traps the focus and restores it afterwards. */
export const Modal = (props: ModalProps) => (
  <Suspense>
    <LoadedModal {...props} />
  </Suspense>
);
