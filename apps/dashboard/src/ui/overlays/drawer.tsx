import { lazy, Suspense, type ReactNode } from 'react';

export interface DrawerProps {
  readonly title: string;
  readonly close: () => void;
  /** Actions at the top, before the close button. */
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}

const LoadedDrawer = lazy(async () => ({
  default: (await import('./loaded-dialog.js')).LoadedDrawer,
}));

/** Panel at the right edge with details of one thing, open while mounted. */
export const Drawer = (props: DrawerProps) => (
  <Suspense>
    <LoadedDrawer {...props} />
  </Suspense>
);
