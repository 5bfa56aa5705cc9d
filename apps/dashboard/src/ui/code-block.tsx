import { useState } from 'react';
import { CopyButton } from './controls/copy-button.js';

export interface CodeTab {
  /** Name of the tab, such as "curl" or "Python". */
  readonly title: string;
  readonly code: string;
}

/** Code in one or several languages, with a button that copies it. */
export function CodeBlock({ tabs, label = 'Code' }: { tabs: readonly CodeTab[]; label?: string }) {
  const [open, setOpen] = useState(tabs[0]?.title);
  const shown = tabs.find(({ title }) => title === open) ?? tabs[0];
  if (!shown) return null;
  return (
    <section className="code-block" aria-label={label}>
      <div className="code-head">
        {tabs.map(({ title }) => (
          <button
            key={title}
            type="button"
            className="quiet small"
            aria-pressed={title === shown.title}
            onClick={() => setOpen(title)}
          >
            {title}
          </button>
        ))}
        <span className="grow" />
        <CopyButton text={shown.code} label={`Copy ${shown.title}`} />
      </div>
      <pre tabIndex={0}>{shown.code}</pre>
    </section>
  );
}
