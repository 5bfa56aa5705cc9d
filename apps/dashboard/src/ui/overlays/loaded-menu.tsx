import { Menu as Base } from '@base-ui/react/menu';
import { Popover } from '@base-ui/react/popover';
import { LINE, type Action, type ActionMenuProps, type PopupProps } from './menu-items.js';

/** A popup of menu.tsx, which loads this code when it is first used, and which is then open. */
export const LoadedPopup = ({ trigger, label, className, align, children }: PopupProps) => (
  <Popover.Root defaultOpen>
    <Popover.Trigger render={trigger} />
    <Popover.Portal>
      <Popover.Positioner className="above" align={align} sideOffset={4} collisionPadding={8}>
        <Popover.Popup className={className} aria-label={label}>
          {children}
        </Popover.Popup>
      </Popover.Positioner>
    </Popover.Portal>
  </Popover.Root>
);

/** A menu of actions; see LoadedPopup. */
export function LoadedActionMenu({ label, actions, trigger }: Required<ActionMenuProps>) {
  return (
    <Base.Root modal={false} defaultOpen>
      <Base.Trigger render={trigger} aria-label={label} />
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
