import { useContext, useId, useState } from 'react';
import { RecordFormats, tableFormats } from '../record-formats.js';

interface Props {
  readonly filename: string;
  readonly columns: readonly string[];
  readonly onPick: (columns: Readonly<Record<string, string>>) => void;
  readonly onLeave: () => void;
}

/** Asks which column of a table is what. It has arrived already, and is read when that is known. */
export function ColumnPick({ filename, columns, onPick, onLeave }: Props) {
  const id = useId();
  const known = tableFormats(useContext(RecordFormats));
  const kinds = known.filter(({ fields }) => fields.length <= Math.max(1, columns.length));
  const [name, setName] = useState<string | null>(null);
  const kind = kinds.find((one) => one.name === name) ?? kinds[0];
  const [chosen, setChosen] = useState<Readonly<Record<string, string>>>({});
  if (!kind) return null;
  const columnOf = (field: string, nth: number): string =>
    chosen[field] ?? columns.find((one) => one === field) ?? columns[nth] ?? '';
  const picked = Object.fromEntries(
    kind.fields.map((field, nth) => [field, columnOf(field, nth)] as const),
  );
  const twice = new Set(Object.values(picked)).size < kind.fields.length;
  return (
    // No form of its own: it may stand inside one.
    <section className="card" aria-label={`Columns of ${filename}`}>
      <h2 className="break">Which columns of {filename}?</h2>
      <div className="bar" role="radiogroup" aria-label="Record format">
        {kinds.map((one) => (
          <label key={one.name}>
            <input
              type="radio"
              name={`${id}kind`}
              checked={one === kind}
              onChange={() => setName(one.name)}
            />{' '}
            {one.title}
          </label>
        ))}
      </div>
      <p className="faint">The model learns: {kind.learnt.join(', ')}.</p>
      <div className="bar">
        {kind.fields.map((field) => (
          <div className="field" key={field}>
            <label htmlFor={`${id}${field}`}>{field}</label>
            <select
              id={`${id}${field}`}
              value={picked[field]}
              onChange={(event) => setChosen((now) => ({ ...now, [field]: event.target.value }))}
            >
              {columns.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </div>
        ))}
      </div>
      <div className="bar">
        <button type="button" className="main" disabled={twice} onClick={() => onPick(picked)}>
          Read with {kind.fields.length === 1 ? 'this' : 'these'}
        </button>
        <button type="button" onClick={onLeave}>
          Discard the file
        </button>
        {twice && <span className="faint">Choose two different columns.</span>}
      </div>
    </section>
  );
}
