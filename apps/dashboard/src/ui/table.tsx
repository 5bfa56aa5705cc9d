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

/** Whether something of a box lies beyond its right edge, now. */
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
 * A table; on a narrow screen each row becomes a card whose cells say their column's name. One that is wider
 * than its place is pushed sideways within it, by keys too, and shows at its edge that there is more.
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

/** One row of a Table: a cell for each column, in their order. */
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
