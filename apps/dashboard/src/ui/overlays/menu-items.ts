import type { ComponentProps, ReactElement, ReactNode } from 'react';

export interface MenuProps {
  readonly label: string;
  readonly icon?: ReactNode;
  readonly children: ReactNode;
}

export interface PopupProps {
  /** Button that opens it. */
  readonly trigger: ReactElement<ComponentProps<'button'>>;
  /** Accessible name. */
  readonly label?: string;
  readonly className: string;
  readonly align: 'center' | 'end';
  readonly children: ReactNode;
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

export interface ActionMenuProps {
  /** Name of the menu: "Actions for tickets-lora-1". */
  readonly label: string;
  readonly actions: readonly (Action | typeof LINE)[];
  /** Replaces the "…" button. */
  readonly trigger?: ReactElement<ComponentProps<'button'>>;
}
