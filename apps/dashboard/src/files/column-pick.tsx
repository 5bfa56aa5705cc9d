import { useId, useState } from 'react';
import { Button } from '../ui/controls/button.js';
import {
  classification,
  fieldsOf,
  likeliest,
  pickedOf,
  useRecordFormats,
  titleOf,
  withColumn,
  type Picked,
} from './record-formats.js';
import { dropUpload, pickColumns, type Upload } from './uploads.js';

/**
 * Form that assigns the columns of an uploaded table. The file is already stored and is parsed once
 * they are assigned.
 */
export function ColumnPick({ table }: { table: Upload }) {
  const { name: filename, columns, suggested } = table;
  const id = useId();
  const known = useRecordFormats();
  const formats = known.filter(({ keys }) => keys.length <= Math.max(1, columns.length));
  const [name, setName] = useState<string | null>(null);
  const [chosen, setChosen] = useState<Picked>({});
  const format = formats.find((one) => one.name === name) ?? likeliest(formats, columns, suggested);
  if (!format) return null;
  const picked = pickedOf(format, columns, suggested, chosen);
  const read = Object.entries(picked).filter(([, column]) => column !== '');
  const twice = new Set(read.map(([, column]) => column)).size < read.length;
  const labelled = classification(formats);
  const use = (field: string, column: string) => {
    if (labelled) setName(labelled.name);
    setChosen(withColumn(format === labelled ? picked : {}, field, column));
  };
  return (
    // Not a form element, because it can be nested in one.
    <section className="card" aria-label={`Columns of ${filename}`}>
      <h2 className="break">Choose the columns of {filename}</h2>
      {labelled && (
        <ColumnUses
          columns={columns}
          fields={labelled.keys}
          picked={format === labelled ? picked : {}}
          use={use}
        />
      )}
      <div className="field">
        <label htmlFor={`${id}format`}>Record format</label>
        <select
          id={`${id}format`}
          value={format.name}
          onChange={(event) => setName(event.target.value)}
        >
          {formats.map((one) => (
            <option key={one.name} value={one.name}>
              {titleOf(one)}
            </option>
          ))}
        </select>
      </div>
      <p className="faint">The model learns to produce: {format.learnt.join(', ')}.</p>
      <div className="bar">
        {fieldsOf(format).map((field) => (
          <div className="field" key={field}>
            <label htmlFor={`${id}${field}`}>{field}</label>
            <select
              id={`${id}${field}`}
              value={picked[field]}
              onChange={(event) => setChosen((now) => ({ ...now, [field]: event.target.value }))}
            >
              {!format.keys.includes(field) && <option value="">none</option>}
              {columns.map((column) => (
                <option key={column}>{column}</option>
              ))}
            </select>
          </div>
        ))}
      </div>
      <div className="bar">
        <button
          type="button"
          className="main"
          disabled={twice}
          onClick={() => pickColumns(table.id, Object.fromEntries(read))}
        >
          Use {read.length === 1 ? 'this column' : 'these columns'}
        </button>
        <button type="button" onClick={() => dropUpload(table.id)}>
          Discard file
        </button>
        {twice && <span className="faint">Choose different columns.</span>}
      </div>
    </section>
  );
}

interface UsesProps {
  readonly columns: readonly string[];
  readonly fields: readonly string[];
  readonly picked: Picked;
  readonly use: (field: string, column: string) => void;
}

/** Buttons that make a column the text or the label in one click. */
const ColumnUses = ({ columns, fields, picked, use }: UsesProps) => (
  <ul className="column-uses" aria-label="Columns">
    {columns.map((column) => (
      <li key={column}>
        <span className="break">{column}</span>
        {fields.map((field) => (
          <Button
            key={field}
            size="s"
            aria-pressed={picked[field] === column}
            aria-label={`Use ${column} as ${field}`}
            onClick={() => use(field, column)}
          >
            Use as {field}
          </Button>
        ))}
      </li>
    ))}
  </ul>
);
