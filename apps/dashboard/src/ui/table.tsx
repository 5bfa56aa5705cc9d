import {
  Children,
  cloneElement,
  createContext,
  isValidElement,
  useContext,
  useEffect,
  useRef,
  useState,
  type ComponentProps,
  type ReactElement,
  type ReactNode,
} from 'react';

interface Heads {
  readonly columns: readonly string[];
  /** Columns of numbers, which are right-aligned. */
  readonly numbers: readonly string[];
}

const Columns = createContext<Heads>({ columns: [], numbers: [] });
const NONE: readonly string[] = [];

/** Returns whether a box overflows beyond its right edge. */
function useMore() {
  const box = useRef<HTMLDivElement>(null);
  const [more, setMore] = useState(false);
  const look = () => {
    const { scrollWidth = 0, clientWidth = 0, scrollLeft = 0 } = box.current ?? {};
    setMore(scrollWidth - clientWidth - scrollLeft > 1);
  };
  useEffect(() => {
    if (!box.current) return;
    const resized = new ResizeObserver(look);
    resized.observe(box.current);
    for (const child of box.current.children) resized.observe(child);
    return () => resized.disconnect();
  }, []);
  return { box, more, look };
}

interface TableProps {
  /** Headings. '' is the column of actions. */
  readonly columns: readonly string[];
  readonly numbers?: readonly string[];
  readonly children: ReactNode;
}

/**
 * Table whose rows become cards on a narrow screen, with the column's name in each cell. A wider
 * table scrolls sideways, also by keyboard, and its edge shows that there is more.
 */
export function Table({ columns, numbers = NONE, children }: TableProps) {
  const { box, more, look } = useMore();
  return (
    <div className={more ? 'table more' : 'table'}>
      <div ref={box} className="scroll" tabIndex={more ? 0 : undefined} onScroll={look}>
        <table className="rows">
          <thead>
            <tr>
              {columns.map((name) => (
                <th
                  key={name}
                  scope="col"
                  className={numbers.includes(name) ? 'numbers' : undefined}
                >
                  {name || <span className="unseen">Actions</span>}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Columns value={{ columns, numbers }}>{children}</Columns>
          </tbody>
        </table>
      </div>
    </div>
  );
}

interface CellProps {
  readonly 'data-label'?: string;
  readonly className?: string;
}

function labelled(cell: ReactElement<CellProps>, column: string, numbers: readonly string[]) {
  const { className = '' } = cell.props;
  return cloneElement(cell, {
    'data-label': column,
    ...(numbers.includes(column) && { className: `${className} numbers` }),
  });
}

/** Row of a Table, with one cell per column in their order. */
export function Row({ children, ...attributes }: ComponentProps<'tr'>) {
  const { columns, numbers } = useContext(Columns);
  return (
    <tr {...attributes}>
      {Children.map(children, (cell, i) =>
        isValidElement(cell)
          ? labelled(cell as ReactElement<CellProps>, columns[i] ?? '', numbers)
          : cell,
      )}
    </tr>
  );
}
