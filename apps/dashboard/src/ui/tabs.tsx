import { Tabs as Base } from '@base-ui/react/tabs';
import type { ReactNode } from 'react';

interface TabsProps<Name extends string> {
  readonly label: string;
  readonly names: readonly Name[];
  readonly open: Name;
  readonly choose: (name: Name) => void;
  /** Renders details after a tab's name, such as a count. */
  readonly note?: (name: Name) => ReactNode;
  readonly children: ReactNode;
}

/** Tabs with the content of the open one. */
export function Tabs<Name extends string>({
  label,
  names,
  open,
  choose,
  note,
  children,
}: TabsProps<Name>) {
  return (
    <Base.Root value={open} onValueChange={(name) => choose(name as Name)}>
      <Base.List aria-label={label} className="tabs" activateOnFocus>
        {names.map((name) => (
          <Base.Tab key={name} value={name}>
            {name}
            {note?.(name)}
          </Base.Tab>
        ))}
      </Base.List>
      <Base.Panel value={open}>{children}</Base.Panel>
    </Base.Root>
  );
}
