import { ChevronRight } from 'lucide-react';
import { Fragment, type ReactNode } from 'react';

interface PageProps {
  readonly title: ReactNode;
  /** Links to the pages above, outermost first. */
  readonly crumbs?: readonly ReactNode[];
  /** State after the title. */
  readonly status?: ReactNode;
  /** One short line below the title. */
  readonly subtitle?: ReactNode;
  /** Buttons at the right. At most one is primary. */
  readonly actions?: ReactNode;
  /** "full" for tables and charts that use wide screens; "form" for forms and settings. */
  readonly width?: 'page' | 'full' | 'form';
  readonly children: ReactNode;
}

/** A page: its header of constant height, and its content. */
export function Page(props: PageProps) {
  const { title, crumbs = [], status, subtitle, actions, width = 'page', children } = props;
  return (
    <main className={`page ${width}`}>
      <header className="page-header">
        <div className="page-title">
          {crumbs.length > 0 && (
            <nav aria-label="Breadcrumb" className="crumbs">
              {crumbs.map((crumb, n) => (
                <Fragment key={n}>
                  {crumb}
                  <ChevronRight aria-hidden="true" />
                </Fragment>
              ))}
            </nav>
          )}
          <h1>{title}</h1>
          {status}
        </div>
        {actions && <div className="page-actions">{actions}</div>}
      </header>
      {subtitle && <div className="page-subtitle">{subtitle}</div>}
      {children}
    </main>
  );
}

interface SectionProps {
  readonly title: ReactNode;
  readonly text?: ReactNode;
  readonly actions?: ReactNode;
  /** Accessible name, if the title is not a text. */
  readonly label?: string;
  /** Whether its content has a frame. */
  readonly isCard?: boolean;
  readonly className?: string;
  readonly children: ReactNode;
}

/** A part of a page with a heading. */
export function Section(props: SectionProps) {
  const { title, text, actions, label, isCard = false, className = '', children } = props;
  const name = label ?? (typeof title === 'string' ? title : undefined);
  return (
    <section className={`section ${isCard ? 'card' : ''} ${className}`} aria-label={name}>
      <div className="section-head">
        <h2>{title}</h2>
        <span className="grow" />
        {actions}
      </div>
      {text && <p className="faint">{text}</p>}
      {children}
    </section>
  );
}
