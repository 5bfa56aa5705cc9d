import { CircleAlert, Info, TriangleAlert } from 'lucide-react';
import type { ReactNode } from 'react';

const ICONS = { info: Info, warn: TriangleAlert, error: CircleAlert } as const;

interface CalloutProps {
  readonly tone?: keyof typeof ICONS;
  readonly title?: ReactNode;
  readonly children?: ReactNode;
  /** The button or link that does something about it. */
  readonly action?: ReactNode;
  /** Whether screen readers announce it when it appears. Errors always are. */
  readonly isLive?: boolean;
}

/** A message within a page, with the action that it asks for. */
export function Callout({ tone = 'info', title, children, action, isLive = false }: CalloutProps) {
  const Icon = ICONS[tone];
  const role = tone === 'error' ? 'alert' : isLive ? 'status' : undefined;
  return (
    <div className={`callout ${tone}`} role={role}>
      <Icon aria-hidden="true" />
      <div className="callout-text">
        {title && <b>{title}</b>}
        {children && <div className="pre-line">{children}</div>}
      </div>
      {action && <div className="callout-action">{action}</div>}
    </div>
  );
}
