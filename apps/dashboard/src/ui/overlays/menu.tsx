import { Popover } from '@base-ui/react/popover';
import type { ReactNode } from 'react';

/** Button that opens a popup below it. */
export function Menu({ label, children }: { label: string; children: ReactNode }) {
  return (
    <Popover.Root>
      <Popover.Trigger>{label}</Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner className="above" align="end" sideOffset={4} collisionPadding={8}>
          <Popover.Popup className="card menu" aria-label={label}>
            {children}
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  );
}
