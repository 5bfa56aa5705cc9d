import { FileUp } from 'lucide-react';
import { useId, useState, type DragEvent } from 'react';
import { count } from '../../format.js';
import { Callout } from '../../ui/feedback/callout.js';
import { Button } from '../../ui/controls/button.js';
import { Field } from '../../ui/controls/field.js';
import { guessRoles, readTable, rowsOf, rowsOfLines, type Roles, type TextTable } from './batch.js';
import { BatchTable } from './batch-table.js';
import { useBatch } from './use-batch.js';

/** A file that was dropped or chosen. */
interface Dropped {
  readonly name: string;
  readonly table: TextTable;
  readonly roles: Roles;
}

/** Classifies many texts: pasted lines, or a file with a table. */
export function BatchBox({ models }: { models: readonly string[] }) {
  const [text, setText] = useState('');
  const [file, setFile] = useState<Dropped | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const batch = useBatch(models);
  const rows = file ? rowsOf(file.table, file.roles) : rowsOfLines(text);
  const take = (given: File | undefined) => {
    if (!given) return;
    setProblem(null);
    readTable(given).then(
      (table) => setFile({ name: given.name, table, roles: guessRoles(table) }),
      (error: Error) => setProblem(`${given.name} cannot be read: ${error.message}`),
    );
  };
  return (
    <div
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event: DragEvent) => {
        event.preventDefault();
        take(event.dataTransfer.files[0]);
      }}
    >
      <form
        className="box-form"
        onSubmit={(event) => {
          event.preventDefault();
          batch.start(rows);
        }}
      >
        {file ? (
          <FileRows file={file} change={setFile} />
        ) : (
          <Field
            id="texts"
            label="Texts"
            help="One per line, or drop a CSV, TSV or JSON Lines file"
          >
            <textarea
              id="texts"
              rows={6}
              autoFocus
              value={text}
              placeholder={'I would buy it again\nBroke after two days'}
              onChange={(event) => setText(event.target.value)}
            />
          </Field>
        )}
        {problem && <Callout tone="error">{problem}</Callout>}
        <div className="bar">
          {batch.busy ? (
            <Button onClick={batch.stop}>Stop</Button>
          ) : (
            <Button type="submit" variant="primary" disabled={rows.length === 0}>
              {rows.length > 0 ? `Classify ${count(rows.length)} texts` : 'Classify'}
            </Button>
          )}
          <FileButton take={take} />
        </div>
      </form>
      {batch.rows.length > 0 && <BatchTable models={models} batch={batch} />}
    </div>
  );
}

function FileButton({ take }: { take: (file: File | undefined) => void }) {
  const id = useId();
  return (
    <>
      <input
        id={id}
        className="unseen"
        type="file"
        accept=".csv,.tsv,.jsonl,.ndjson,.txt"
        onChange={(event) => {
          take(event.target.files?.[0]);
          event.target.value = ''; // Allows the same file to be chosen again.
        }}
      />
      <label htmlFor={id} className="button">
        <FileUp className="lucide" /> Choose a file…
      </label>
    </>
  );
}

/** The columns of a file, which the user can change. */
function FileRows({ file, change }: { file: Dropped; change: (file: Dropped | null) => void }) {
  const { name, table, roles } = file;
  const set = (role: keyof Roles) => (column: string) =>
    change({ ...file, roles: { ...roles, [role]: column || null } });
  return (
    <div className="card file-rows">
      <div className="bar">
        <b className="break">{name}</b>
        <span className="faint">{count(table.records.length)} rows</span>
        <span className="grow" />
        <Button size="s" variant="ghost" onClick={() => change(null)}>
          Remove
        </Button>
      </div>
      <div className="fields">
        <ColumnField
          id="column-text"
          label="Text"
          value={roles.text}
          set={set('text')}
          table={table}
        />
        <ColumnField
          id="column-label"
          label="Right label"
          value={roles.label ?? ''}
          set={set('label')}
          table={table}
          none="none"
        />
        <ColumnField
          id="column-pair"
          label="Second text"
          value={roles.pair ?? ''}
          set={set('pair')}
          table={table}
          none="none"
        />
      </div>
    </div>
  );
}

interface ColumnProps {
  readonly id: string;
  readonly label: string;
  readonly value: string;
  readonly set: (column: string) => void;
  readonly table: TextTable;
  /** Label of the choice of no column. Absent if a column is required. */
  readonly none?: string;
}

const ColumnField = ({ id, label, value, set, table, none }: ColumnProps) => (
  <Field id={id} label={label}>
    <select id={id} value={value} onChange={(event) => set(event.target.value)}>
      {none !== undefined && <option value="">{none}</option>}
      {table.columns.map((column) => (
        <option key={column}>{column}</option>
      ))}
    </select>
  </Field>
);
