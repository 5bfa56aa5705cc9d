import type { FileObject, FileRecordObject, Page } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';

type Fields = Readonly<Record<string, unknown>>;

export interface RecordFlags {
  readonly set?: readonly string[];
  readonly record?: readonly string[];
  readonly remove?: readonly string[];
}

/** A record by its line; null removes it. */
export interface RevisedRecord {
  readonly line: number;
  readonly record: Fields | null;
}

/**
 * Records to replace or remove. `--set` changes single fields, so it reads the records from the API first.
 * @throws CliError that names the flag
 */
export async function revisedRecords(
  api: Api,
  file: FileObject,
  { set = [], record = [], remove = [] }: RecordFlags,
): Promise<RevisedRecord[]> {
  const found = new Map<number, Fields | null>();
  const add = (flag: string, line: number, value: Fields | null): void => {
    if (found.has(line))
      throw new CliError(`${flag}: line ${line} is changed by another flag, too`, EXIT.usage);
    found.set(line, value);
  };
  for (const text of remove) add(`--remove ${text}`, lineOf('--remove', text), null);
  for (const text of record) {
    const [line = '', json = ''] = split('--record', text, /^(\d+)=(.*)$/s, 'LINE=JSON');
    add(`--record ${line}`, lineOf('--record', line), objectOf(`--record ${line}`, json));
  }
  const changes = new Map<number, [field: string, text: string][]>();
  for (const text of set) {
    const [line = '', field = '', value = ''] = split(
      '--set',
      text,
      /^(\d+)\.([^=]+)=(.*)$/s,
      'LINE.FIELD=VALUE',
    );
    const number = lineOf('--set', line);
    changes.set(number, [...(changes.get(number) ?? []), [field, value]]);
  }
  for (const [line, fields] of changes)
    add('--set', line, changed(line, await recordOf(api, file, line), fields));
  if (found.size === 0)
    throw new CliError('specify what to change: --set, --record or --remove', EXIT.usage);
  return [...found].map(([line, value]) => ({ line, record: value }));
}

function split(flag: string, text: string, form: RegExp, expected: string): string[] {
  const parts = form.exec(text);
  if (!parts) throw new CliError(`${flag} ${text}: expected ${expected}`, EXIT.usage);
  return parts.slice(1);
}

function lineOf(flag: string, text: string): number {
  const line = /^\d+$/.test(text) ? Number(text) : 0;
  if (!Number.isSafeInteger(line) || line < 1)
    throw new CliError(`${flag} ${text}: expected the number of a line, from 1`, EXIT.usage);
  return line;
}

function objectOf(flag: string, json: string): Fields {
  const value = jsonOf(json);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CliError(`${flag}: expected a JSON object`, EXIT.usage);
  return value as Fields;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @throws CliError if the line has no record, or one that cannot be read */
async function recordOf(api: Api, file: FileObject, line: number): Promise<Fields> {
  const path = `/files/${encodeURIComponent(file.id)}/records?after=${line - 1}&limit=1`;
  const [first] = (await api.get<Page<FileRecordObject>>(path)).data;
  if (first?.line !== line)
    throw new CliError(`${file.filename} has no record at line ${line}`, EXIT.usage);
  if (first.record === null)
    throw new CliError(
      `line ${line} has no readable fields (${first.problem}); replace it: --record '${line}={…}'`,
      EXIT.usage,
    );
  return first.record;
}

/** Copy of a record with other values. A field that holds text takes its value as it is, every other field as JSON. */
function changed(
  line: number,
  record: Fields,
  fields: readonly (readonly [field: string, text: string])[],
): Fields {
  const copy: Record<string, unknown> = { ...record };
  for (const [field, text] of fields) {
    const flag = `--set ${line}.${field}`;
    if (!Object.hasOwn(record, field))
      throw new CliError(
        `${flag}: the record has the fields ${Object.keys(record).join(', ')}; --record replaces all of it`,
        EXIT.usage,
      );
    const value = typeof record[field] === 'string' ? text : jsonOf(text);
    if (value === undefined)
      throw new CliError(`${flag}: expected JSON, because the field is not a text`, EXIT.usage);
    copy[field] = value;
  }
  return copy;
}
