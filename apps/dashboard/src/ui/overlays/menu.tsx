// Menus. Their code is loaded when the first one is used, because every page has some.
import { Ellipsis } from 'lucide-react';
import {
  cloneElement,
  lazy,
  Suspense,
  useState,
  type ComponentProps,
  type KeyboardEvent,
  type ReactElement,
  type ReactNode,
} from 'react';
import type { ActionMenuProps, MenuProps, PopupProps } from './menu-items.js';

export { LINE, type Action } from './menu-items.js';

const loadMenu = () => import('./loaded-menu.js');
const LoadedPopup = lazy(async () => ({ default: (await loadMenu()).LoadedPopup }));
const LoadedActionMenu = lazy(async () => ({ default: (await loadMenu()).LoadedActionMenu }));

/** Button that opens a popup below it. */
export const Popup = (props: PopupProps) => (
  <Unused trigger={props.trigger} popup="dialog">
    <LoadedPopup {...props} />
  </Unused>
);

/** Button that opens a popup with controls below it. */
export const Menu = ({ label, icon, children }: MenuProps) => (
  <Popup
    label={label}
    className="card menu panel"
    align="end"
    trigger={
      <button type="button">
        {icon}
        {label}
      </button>
    }
  >
    {children}
  </Popup>
);

const MORE = (
  <button type="button" className="quiet icon small">
    <Ellipsis />
  </button>
);

/** Menu of actions behind a "…" button, navigable with the arrow keys. */
export function ActionMenu({ label, actions, trigger = MORE }: ActionMenuProps) {
  return (
    <Unused trigger={cloneElement(trigger, { 'aria-label': label })} popup="menu">
      <LoadedActionMenu label={label} actions={actions} trigger={trigger} />
    </Unused>
  );
}

interface UnusedProps {
  readonly trigger: ReactElement<ComponentProps<'button'>>;
  readonly popup: 'menu' | 'dialog';
  /** Loads the code of the menu. */
  readonly load?: () => Promise<unknown>;
  /** The menu with its own trigger, open. */
  readonly children: ReactNode;
}

/** The trigger of a menu until its first use, then the menu. */
export function Unused({ trigger, popup, load = loadMenu, children }: UnusedProps) {
  const [isUsed, setUsed] = useState(false);
  const preload = () => void load();
  const button = cloneElement(trigger, {
    'aria-haspopup': popup,
    'aria-expanded': false,
    onPointerEnter: preload,
    onFocus: preload,
    onClick: () => setUsed(true),
    onKeyDown: ({ key }: KeyboardEvent) => key === 'ArrowDown' && setUsed(true),
  });
  return isUsed ? <Suspense fallback={button}>{children}</Suspense> : button;
}
