import { Combobox as Base } from '@base-ui/react/combobox';
import { Check, ChevronsUpDown } from 'lucide-react';
import type { ReactNode } from 'react';

export interface Option {
  readonly value: string;
  /** Text that is shown and searched. */
  readonly label: string;
  /** Second line, searched as well. */
  readonly text?: string;
  /** Heading of the option's group. Either all options have one, or none has. */
  readonly group?: string;
  readonly badge?: ReactNode;
  readonly disabled?: boolean;
}

interface ComboboxProps {
  readonly id?: string;
  /** Accessible name, unless a label names the id. */
  readonly label?: string;
  readonly value: string;
  readonly options: readonly Option[];
  readonly change: (value: string) => void;
  readonly placeholder?: string;
  readonly describedBy?: string | undefined;
  readonly invalid?: boolean;
}

/** A choice from a long list that can be searched, such as a method or a model. */
export function Combobox(props: ComboboxProps) {
  const { id, label, value, options, change, placeholder, describedBy, invalid = false } = props;
  const chosen = options.find((option) => option.value === value) ?? null;
  return (
    <Base.Root
      items={grouped(options)}
      value={chosen}
      onValueChange={(option: Option | null) => option && change(option.value)}
      itemToStringLabel={(option: Option) => option.label}
      filter={(option: Option, query) => matches(option, query)}
      isItemEqualToValue={(a: Option, b: Option) => a.value === b.value}
    >
      <Base.Trigger
        id={id}
        type="button"
        className="combobox"
        aria-label={label}
        aria-describedby={describedBy}
        aria-invalid={invalid || undefined}
      >
        <span className={chosen ? 'combobox-value' : 'combobox-value faint'}>
          {chosen?.label ?? placeholder ?? 'Choose…'}
        </span>
        <ChevronsUpDown />
      </Base.Trigger>
      <Base.Portal>
        <Base.Positioner className="above" sideOffset={4} collisionPadding={8} align="start">
          <Base.Popup className="card menu combobox-popup" aria-label={label ?? 'Options'}>
            <Base.Input className="combobox-search" placeholder="Search…" aria-label="Search" />
            <Base.Empty className="menu-label">No matches</Base.Empty>
            <Base.List className="combobox-list">
              {(entry: Option | Group) =>
                'items' in entry ? (
                  <Base.Group key={entry.value} items={entry.items}>
                    <Base.GroupLabel className="menu-label">{entry.value}</Base.GroupLabel>
                    <Base.Collection>
                      {(option: Option) => <Item key={option.value} option={option} />}
                    </Base.Collection>
                  </Base.Group>
                ) : (
                  <Item key={entry.value} option={entry} />
                )
              }
            </Base.List>
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}

interface Group {
  readonly value: string;
  readonly items: Option[];
}

/** Returns the options in their groups; as they are if they have none. */
function grouped(options: readonly Option[]): Option[] | Group[] {
  if (!options.some(({ group }) => group)) return [...options];
  const groups = new Map<string, Option[]>();
  for (const option of options)
    groups.set(option.group ?? '', [...(groups.get(option.group ?? '') ?? []), option]);
  return [...groups].map(([value, items]) => ({ value, items }));
}

/** Whether every word of a query occurs in an option. */
function matches({ value, label, text = '' }: Option, query: string): boolean {
  const all = `${label} ${value} ${text}`.toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

function Item({ option }: { option: Option }) {
  const { label, text, badge, disabled } = option;
  return (
    <Base.Item value={option} disabled={disabled === true} className="menu-item combobox-item">
      <span className="combobox-mark">
        <Base.ItemIndicator>
          <Check />
        </Base.ItemIndicator>
      </span>
      <span className="combobox-text">
        <span>
          {label}
          {badge && <span className="badge">{badge}</span>}
        </span>
        {text && <small>{text}</small>}
      </span>
    </Base.Item>
  );
}
