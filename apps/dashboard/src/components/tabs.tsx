import { useRef, type KeyboardEvent, type ReactNode } from 'react';

interface TabsProps<Name extends string> {
  readonly label: string;
  readonly names: readonly Name[];
  readonly open: Name;
  readonly choose: (name: Name) => void;
  /** What stands behind a tab's name, such as how many there are. */
  readonly beside?: (name: Name) => ReactNode;
  readonly children: ReactNode;
}

/** Tabs as WAI-ARIA has them: one tab stop for all, the arrows, Home and End move among them. */
export function Tabs<Name extends string>({
  label,
  names,
  open,
  choose,
  beside,
  children,
}: TabsProps<Name>) {
  const list = useRef<HTMLDivElement>(null);
  const pressed = (event: KeyboardEvent) => {
    const at = names.indexOf(open);
    const targets: Readonly<Record<string, number>> = {
      ArrowRight: (at + 1) % names.length,
      ArrowLeft: (at + names.length - 1) % names.length,
      Home: 0,
      End: names.length - 1,
    };
    const to = targets[event.key];
    const name = to === undefined ? undefined : names[to];
    if (to === undefined || name === undefined) return;
    event.preventDefault();
    choose(name);
    (list.current?.children[to] as HTMLElement | undefined)?.focus();
  };
  return (
    <>
      <div ref={list} role="tablist" aria-label={label} className="tabs" onKeyDown={pressed}>
        {names.map((name) => (
          <button
            key={name}
            id={`tab-${name}`}
            role="tab"
            aria-selected={name === open}
            aria-controls="tab-panel"
            tabIndex={name === open ? 0 : -1}
            onClick={() => choose(name)}
          >
            {name}
            {beside?.(name)}
          </button>
        ))}
      </div>
      <div id="tab-panel" role="tabpanel" aria-labelledby={`tab-${open}`}>
        {children}
      </div>
    </>
  );
}
