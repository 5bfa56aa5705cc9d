import { Pencil, Trash2, Undo2 } from 'lucide-react';
import { useId, useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { Button, IconButton } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { useRowFixes, type Fields } from './row-fixes.js';

interface Props {
  readonly file: string | null;
  readonly line: number;
}

/** Buttons that correct or remove a row of the training file, and the state of the row. Nothing for other files. */
export function FixRow({ file, line }: Props) {
  const { file: fixable, fixes, fix } = useRowFixes();
  const [isOpen, setOpen] = useState(false);
  if (file === null || file !== fixable) return null;
  const fixed = fixes.get(line);
  return (
    <div className="fix-row">
      {fixed !== undefined && (
        <span className="tag">{fixed === null ? 'will be removed' : 'fixed'}</span>
      )}
      {fixed === undefined ? (
        <>
          <IconButton
            size="s"
            label={`Fix line ${line}`}
            icon={<Pencil />}
            aria-expanded={isOpen}
            onClick={() => setOpen(!isOpen)}
          />
          <IconButton
            size="s"
            label={`Remove line ${line}`}
            icon={<Trash2 />}
            onClick={() => fix(line, null)}
          />
        </>
      ) : (
        <IconButton
          size="s"
          label={`Undo the fix of line ${line}`}
          icon={<Undo2 />}
          onClick={() => fix(line, undefined)}
        />
      )}
      {isOpen && fixed === undefined && (
        <RowEditor file={file} line={line} close={() => setOpen(false)} />
      )}
    </div>
  );
}

interface EditorProps {
  readonly file: string;
  readonly line: number;
  readonly close: () => void;
}

function RowEditor({ file, line, close }: EditorProps) {
  const { value, error } = useLoaded(['record', file, line], () => api.records(file, line - 1, 1));
  const record = value?.data[0]?.record;
  if (!value) return error ? <Failure error={error} /> : <Skeleton height={96} />;
  if (!record) return <p className="bad">This row cannot be read.</p>;
  return <RowForm line={line} record={record} close={close} />;
}

interface FormProps extends Omit<EditorProps, 'file'> {
  readonly record: Fields;
}

/** Path of a text in a record: a field, or the content of a message. */
interface Place {
  readonly name: string;
  readonly get: string;
  readonly set: (record: Fields, text: string) => Fields;
}

const isMessage = (value: unknown): value is { role: string; content: string } =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as { content?: unknown }).content === 'string';

/** Returns the texts of a record that can be edited. Media and numbers stay as they are. */
export function textsOf(record: Fields): Place[] {
  return Object.entries(record).flatMap(([key, value]): Place[] => {
    if (typeof value === 'string' && !value.startsWith('data:'))
      return [{ name: key, get: value, set: (now, text) => ({ ...now, [key]: text }) }];
    if (!Array.isArray(value) || !value.every(isMessage)) return [];
    return value.map((message, n) => ({
      name: `${key} ${n + 1}, ${message.role}`,
      get: message.content,
      set: (now, text) => ({
        ...now,
        [key]: (now[key] as object[]).map((one, i) => (i === n ? { ...one, content: text } : one)),
      }),
    }));
  });
}

/** Text fields of a record. A label has the labels of the job as suggestions. */
function RowForm({ line, record, close }: FormProps) {
  const { fix, labels } = useRowFixes();
  const places = textsOf(record);
  const [texts, setTexts] = useState(() => places.map(({ get }) => get));
  const id = useId();
  const save = (event: FormEvent) => {
    event.preventDefault();
    const isChanged = places.some(({ get }, n) => get !== texts[n]);
    if (isChanged)
      fix(
        line,
        places.reduce((now, { set }, n) => set(now, texts[n] ?? ''), record),
      );
    close();
  };
  return (
    <form className="row-form" aria-label={`Fix line ${line}`} onSubmit={save}>
      {places.map(({ name }, n) => {
        const change = (text: string) =>
          setTexts((now) => now.map((one, i) => (i === n ? text : one)));
        const field = `${id}-${n}`;
        return (
          <div key={name} className="row-field">
            <label htmlFor={field}>{name.replaceAll('_', ' ')}</label>
            {name === 'label' && labels.length > 0 ? (
              <select id={field} value={texts[n]} onChange={(event) => change(event.target.value)}>
                {[...new Set([...labels, texts[n] ?? ''])].map((label) => (
                  <option key={label}>{label}</option>
                ))}
              </select>
            ) : (
              <textarea
                id={field}
                rows={Math.min(6, 1 + Math.floor((texts[n] ?? '').length / 80))}
                value={texts[n]}
                onChange={(event) => change(event.target.value)}
              />
            )}
          </div>
        );
      })}
      <div className="bar">
        <Button type="submit" size="s">
          Keep fix
        </Button>
        <Button size="s" variant="ghost" onClick={close}>
          Cancel
        </Button>
      </div>
    </form>
  );
}
