import { Menu as Base } from '@base-ui/react/menu';
import { Popover } from '@base-ui/react/popover';
import { Ellipsis } from 'lucide-react';
import type { ReactElement, ReactNode } from 'react';

interface MenuProps {
  readonly label: string;
  readonly icon?: ReactNode;
  readonly children: ReactNode;
}

/** Button that opens a popup with controls below it. */
export function Menu({ label, icon, children }: MenuProps) {
  return (
    <Popover.Root>
      <Popover.Trigger type="button">
        {icon}
        {label}
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner className="above" align="end" sideOffset={4} collisionPadding={8}>
          <Popover.Popup className="card menu panel" aria-label={label}>
            {children}
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  );
}

export interface Action {
  readonly label: string;
  readonly icon?: ReactNode;
  readonly isDanger?: boolean;
  /** Reason why the action is not available, shown below its label. */
  readonly unavailable?: string | null;
  /** Single-key shortcut of the page. */
  readonly shortcut?: string;
  /** Callback, or the link that the item is. */
  readonly act: (() => unknown) | ReactElement;
}

/** Separates groups of actions. */
export const LINE = 'line';

interface ActionMenuProps {
  /** Name of the menu: "Actions for tickets-lora-1". */
  readonly label: string;
  readonly actions: readonly (Action | typeof LINE)[];
  /** Replaces the "…" button. */
  readonly trigger?: ReactElement;
}

/** Menu of actions behind a "…" button, navigable with the arrow keys. */
export function ActionMenu({ label, actions, trigger }: ActionMenuProps) {
  return (
    <Base.Root modal={false}>
      {trigger ? (
        <Base.Trigger render={trigger} aria-label={label} />
      ) : (
        <Base.Trigger type="button" className="quiet icon small" aria-label={label}>
          <Ellipsis />
        </Base.Trigger>
      )}
      <Base.Portal>
        <Base.Positioner className="above" align="end" sideOffset={4} collisionPadding={8}>
          <Base.Popup className="card menu">
            <Items actions={actions} />
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}

interface OpenActionMenuProps extends Pick<ActionMenuProps, 'label' | 'actions'> {
  /** Button that opened it. */
  readonly anchor: Element;
  readonly close: () => void;
}

/**
 * Menu of actions that is open while mounted. A long list has one for all of its rows, because a
 * menu per row makes scrolling slow.
 */
export function OpenActionMenu({ label, actions, anchor, close }: OpenActionMenuProps) {
  return (
    <Base.Root open modal={false} onOpenChange={(open) => open || close()}>
      <Base.Portal>
        <Base.Positioner
          className="above"
          anchor={anchor}
          align="end"
          sideOffset={4}
          collisionPadding={8}
        >
          <Base.Popup
            className="card menu"
            aria-label={label}
            finalFocus={() => anchor as HTMLElement}
          >
            <Items actions={actions} />
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}

const Items = ({ actions }: Pick<ActionMenuProps, 'actions'>) =>
  actions.map((action, n) =>
    action === LINE ? (
      <Base.Separator key={n} className="menu-line" />
    ) : (
      <ActionItem key={action.label} action={action} />
    ),
  );

function ActionItem({ action }: { action: Action }) {
  const { label, icon, isDanger, unavailable, shortcut, act } = action;
  const className = isDanger ? 'menu-item danger' : 'menu-item';
  const content = (
    <>
      {icon}
      <span>
        {label}
        {unavailable && <small className="block">{unavailable}</small>}
      </span>
      {shortcut && <kbd>{shortcut}</kbd>}
    </>
  );
  if (typeof act !== 'function')
    return (
      <Base.LinkItem render={act} className={className} closeOnClick>
        {content}
      </Base.LinkItem>
    );
  return (
    <Base.Item className={className} disabled={Boolean(unavailable)} onClick={() => void act()}>
      {content}
    </Base.Item>
  );
}
