import {
  Children,
  cloneElement,
  createContext,
  isValidElement,
  useContext,
  type ComponentProps,
  type ReactElement,
  type ReactNode,
} from 'react';

const Columns = createContext<readonly string[]>([]);

/** A table; on a narrow screen each row becomes a card whose cells say their column's name. */
export function Table({ columns, children }: { columns: readonly string[]; children: ReactNode }) {
  return (
    <div className="scroll">
      <table className="rows">
        <thead>
          <tr>
            {columns.map((name) => (
              <th key={name} scope="col" aria-label={name || 'Actions'}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <Columns value={columns}>{children}</Columns>
        </tbody>
      </table>
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
