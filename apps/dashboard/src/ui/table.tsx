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

const Columns = createContext<readonly string[]>([]);

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

/**
 * Table whose rows become cards on a narrow screen, with the column's name in each cell. A wider
 * table scrolls sideways, also by keyboard, and its edge shows that there is more.
 */
export function Table({ columns, children }: { columns: readonly string[]; children: ReactNode }) {
  const { box, more, look } = useMore();
  return (
    <div className={more ? 'table more' : 'table'}>
      <div ref={box} className="scroll" tabIndex={more ? 0 : undefined} onScroll={look}>
        <table className="rows">
          <thead>
            <tr>
              {columns.map((name) => (
                <th key={name} scope="col">
                  {name || <span className="unseen">Actions</span>}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Columns value={columns}>{children}</Columns>
          </tbody>
        </table>
      </div>
    </div>
  );
}

/** Row of a Table, with one cell per column in their order. */
export function Row({ children, ...attributes }: ComponentProps<'tr'>) {
  const columns = useContext(Columns);
  return (
    <tr {...attributes}>
      {Children.map(children, (cell, i) =>
        isValidElement(cell)
          ? cloneElement(cell as ReactElement<{ 'data-label'?: string }>, {
              'data-label': columns[i] ?? '',
            })
          : cell,
      )}
    </tr>
  );
}
