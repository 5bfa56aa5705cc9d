import type { LinkComponent } from '@tanstack/react-router';
import { createElement, type ComponentProps, type ComponentType, type ReactNode } from 'react';
import { Link } from '../link.js';
import { Tip } from '../overlays/tip.js';

/** Meaning of a button. A page has at most one primary button; danger is for actions that lose something. */
export type ButtonVariant = 'primary' | 'secondary' | 'ghost' | 'danger';

interface Look {
  readonly variant?: ButtonVariant | undefined;
  readonly size?: 'm' | 's' | undefined;
  /** Icon before the label. */
  readonly icon?: ReactNode;
}

const CLASSES: Readonly<Record<ButtonVariant, string>> = {
  primary: 'main',
  secondary: '',
  ghost: 'quiet',
  danger: 'danger',
};

const classes = ({ variant = 'secondary', size = 'm' }: Look, ...more: readonly string[]): string =>
  [CLASSES[variant], size === 's' ? 'small' : '', ...more].filter(Boolean).join(' ');

interface ButtonProps extends ComponentProps<'button'>, Look {
  /** Whether its action is in progress. The button is disabled, and screen readers announce it as busy. */
  readonly busy?: boolean;
}

/** A button. It submits a form only with `type="submit"`. */
export function Button({ variant, size, icon, busy, children, className, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      className={classes({ variant, size }, className ?? '')}
      disabled={rest.disabled === true || busy === true}
      aria-busy={busy || undefined}
    >
      {icon}
      {children}
    </button>
  );
}

type ButtonLinkProps = Look & ComponentProps<'a'>;

/** A link to a page that looks like a button. */
export const ButtonLink = (({
  variant,
  size,
  icon,
  children,
  className,
  ...link
}: ButtonLinkProps) =>
  createElement(
    Link as ComponentType<object>,
    { ...link, className: classes({ variant, size }, 'button', className ?? '') } as object,
    icon,
    children,
  )) as unknown as LinkComponent<(props: ButtonLinkProps) => ReactNode>;

interface IconButtonProps extends Omit<ButtonProps, 'icon' | 'children'> {
  /** Name of the action, which is also its tooltip. */
  readonly label: string;
  readonly icon: ReactNode;
}

/** A button that shows only an icon. */
export function IconButton({
  label,
  icon,
  variant = 'ghost',
  className,
  ...rest
}: IconButtonProps) {
  return (
    <Tip text={label}>
      <Button {...rest} variant={variant} aria-label={label} className={`icon ${className ?? ''}`}>
        {icon}
      </Button>
    </Tip>
  );
}
