// Reads training examples in other common formats as records that a task checks: ShareGPT conversations, Alpaca
// instructions, and tables with a prompt column and a completion column.
import { DomainError } from '@graft/contracts';
import { scanJson, shown } from '../data/json-scan.js';
import type { RecordFormat } from '../tasks/task.js';
import { readCell, textOf } from './cells.js';
import { LIMITS, type JsonObject } from '../data/json-line.js';

/** Column names of a table by record field. */
export type Columns = Readonly<Record<string, string>>;

export interface Shape {
  readonly name: 'records' | 'sharegpt' | 'alpaca' | 'columns';
  /** Column that was read as text by default. Its labels may be in a column that was not mapped. */
  readonly promptOnly?: string;
  /** Sentence that explains what was guessed. */
  readonly note: string | null;
  /** Converts a row to a record and the fields that were left out, or returns why it cannot be converted. */
  convert(row: JsonObject): Converted | string;
}

export interface Converted {
  readonly record: JsonObject;
  readonly ignored: readonly string[];
}

const QUESTIONS = ['prompt', 'question', 'query', 'input', 'source', 'request', 'user'];
const ANSWERS = ['completion', 'answer', 'response', 'output', 'target', 'reply', 'assistant'];

/**
 * Returns how to read rows with these keys; null if their fields cannot be determined.
 * @throws DomainError if `columns` names missing keys, or fields that do not form a record
 */
export function shapeOf(
  keys: readonly string[],
  columns: Columns,
  formats: readonly RecordFormat[],
): Shape | null {
  if (Object.keys(columns).length > 0) return mappedShape(keys, columns, formats);
  const named = new Map(keys.map((key) => [key.trim().toLowerCase(), key]));
  const format = formatOf(named, formats);
  if (format) return recordShape(named, format);
  if (named.has('conversations')) return shareGpt;
  const answer = ['output', 'response'].find((name) => named.has(name));
  if (named.has('instruction') && answer) return alpaca(named, answer);
  const [prompt, completion] = [QUESTIONS, ANSWERS].map((names) =>
    names.map((name) => named.get(name)).find((key) => key !== undefined),
  );
  if (prompt !== undefined && completion !== undefined) {
    const plain = prompt === 'prompt' && completion === 'completion';
    const note = `Column ${shown(prompt)} was read as the prompt, ${shown(completion)} as the completion.`;
    return plain
      ? tableShape({ prompt, completion }, null)
      : { ...tableShape({ prompt, completion }, note), promptOnly: prompt };
  }
  const text = named.get('text');
  return text === undefined ? null : { ...tableShape({ text }, null), promptOnly: text };
}

/**
 * Returns the record format that has exactly these fields.
 * @throws DomainError that names the formats if there is none, or a column that is mapped twice
 */
export function mappedFormat(columns: Columns, formats: readonly RecordFormat[]): RecordFormat {
  const fields = Object.keys(columns);
  checkDistinct(columns);
  const format = formats.find(
    ({ keys, more = [] }) =>
      keys.every((key) => fields.includes(key)) &&
      fields.every((field) => keys.includes(field) || more.includes(field)),
  );
  if (format) return format;
  const forms = new Set(formats.map(({ keys }) => keys.join(' and ')));
  throw new DomainError(
    'invalid_value',
    `no form of training data has the fields ${fields.map((field) => shown(field)).join(', ')}; name the columns of one form: ${[...forms].join('; ')}`,
    'columns',
  );
}

/** Checks that columns are distinct. @throws DomainError if one column is mapped to two fields */
function checkDistinct(columns: Columns): void {
  const fields = new Map<string, string>();
  for (const [field, column] of Object.entries(columns)) {
    const other = fields.get(column);
    if (other !== undefined)
      throw new DomainError(
        'invalid_value',
        `column ${shown(column)} is already used for ${other}; choose another one`,
        `columns.${field}`,
      );
    fields.set(column, field);
  }
}

function mappedShape(
  keys: readonly string[],
  columns: Columns,
  formats: readonly RecordFormat[],
): Shape {
  const format = mappedFormat(columns, formats);
  for (const [field, key] of Object.entries(columns))
    if (!keys.includes(key))
      throw new DomainError(
        'invalid_value',
        `no column ${shown(key)}; columns: ${keys.slice(0, 40).map(shown).join(', ')}`,
        `columns.${field}`,
      );
  if (Object.keys(columns).every((field) => TEXTS.includes(field)))
    return tableShape(columns, null);
  const more = (format.more ?? []).filter((field) => columns[field] !== undefined);
  return recordShape(new Map(Object.entries(columns)), { ...format, more });
}

function tableShape(columns: Columns, note: string | null): Shape {
  const parts = Object.entries(columns);
  const used = parts.map(([, key]) => key);
  return {
    name: 'columns',
    note,
    convert(row) {
      const record: Record<string, string> = {};
      for (const [part, key] of parts) {
        const text = textOf(row[key]);
        if (text === null) return `${shown(key)} must be text`;
        record[part] = text;
      }
      return { record, ignored: others(row, used) };
    },
  };
}

const TEXTS: readonly string[] = ['prompt', 'completion', 'text'];

/**
 * Returns the largest format whose keys are all columns. Text formats accept any column name and are not considered.
 */
function formatOf(
  named: ReadonlyMap<string, string>,
  formats: readonly RecordFormat[],
): RecordFormat | null {
  const found = formats.filter(
    ({ keys }) => keys.every((key) => named.has(key)) && !keys.every((key) => TEXTS.includes(key)),
  );
  return found.sort((a, b) => b.keys.length - a.keys.length)[0] ?? null;
}

/** Returns the shape of a table of records: each cell is converted to the kind of its field. */
function recordShape(
  named: ReadonlyMap<string, string>,
  { keys, more = [], cells = {} }: Pick<RecordFormat, 'keys' | 'more' | 'cells'>,
): Shape {
  const fields = [...keys, ...more].map((name) => ({
    name,
    column: named.get(name) ?? name,
    kind: cells[name] ?? 'text',
  }));
  const columns = fields.map(({ column }) => column);
  return {
    name: 'records',
    note: null,
    convert(row) {
      const record: Record<string, unknown> = {};
      for (const { name, column, kind } of fields) {
        const cell = readCell(row[column], kind, column);
        if (typeof cell === 'string') return cell;
        const { value } = cell;
        if (keys.includes(name) || (value != null && value !== '')) record[name] = value;
      }
      return { record, ignored: others(row, columns) };
    },
  };
}

const SPEAKERS: Readonly<Record<string, string>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  chatgpt: 'assistant',
  model: 'assistant',
  system: 'system',
  tool: 'tool',
  observation: 'tool',
};

const shareGpt: Shape = {
  name: 'sharegpt',
  note: null,
  convert(row) {
    const cells = parsed(row, ['conversations', 'tools']);
    if (typeof cells === 'string') return cells;
    const [turns, tools] = cells;
    if (!Array.isArray(turns)) return '"conversations" must be an array';
    const messages: JsonObject[] = [];
    const ignored = new Set(others(row, ['conversations', 'system', 'tools']));
    const system = textOf(row['system']);
    if (system) messages.push({ role: 'system', content: system });
    for (const [i, turn] of (turns as unknown[]).entries()) {
      const {
        from,
        value,
        role = from,
        content = value,
        weight,
        ...rest
      } = (turn ?? {}) as JsonObject;
      const speaker = SPEAKERS[String(role)];
      if (speaker === undefined)
        return `conversations[${i}]: "from" must be one of ${Object.keys(SPEAKERS).join(', ')}; got ${shown(role)}`;
      messages.push({ role: speaker, content, ...(weight == null ? {} : { weight }) });
      for (const field of Object.keys(rest))
        if (rest[field] != null) ignored.add(`conversations[].${field}`);
    }
    return {
      record: { messages, ...(Array.isArray(tools) && tools.length > 0 ? { tools } : {}) },
      ignored: [...ignored],
    };
  },
};

/** Returns the shape of Alpaca data: the instruction and, after a blank line, the input, as is common in training. */
function alpaca(named: ReadonlyMap<string, string>, answer: string): Shape {
  const key = (name: string): string => named.get(name) ?? name;
  const about = named.has('input') ? 'input' : 'context';
  const used = ['instruction', about, answer, 'system', 'history'].map(key);
  return {
    name: 'alpaca',
    note: null,
    convert(row) {
      const [instruction, input, output, system] = ['instruction', about, answer, 'system'].map(
        (name) => textOf(row[key(name)]),
      );
      for (const [name, text] of Object.entries({ instruction, [about]: input, [answer]: output }))
        if (text == null) return `${shown(name)} must be text`;
      const cells = parsed(row, [key('history')]);
      if (typeof cells === 'string') return cells;
      const history = cells[0] ?? [];
      if (!Array.isArray(history)) return '"history" must be an array';
      const messages = [
        ...(system ? [{ role: 'system', content: system }] : []),
        ...(history as unknown[]).flatMap((pair) => {
          const [question, reply] = Array.isArray(pair) ? (pair as unknown[]) : [];
          return [
            { role: 'user', content: question },
            { role: 'assistant', content: reply },
          ];
        }),
        { role: 'user', content: [instruction, input].filter(Boolean).join('\n\n') },
        { role: 'assistant', content: output },
      ];
      return { record: { messages }, ignored: others(row, used) };
    },
  };
}

/** Returns the non-empty fields that are not read. */
function others(row: JsonObject, used: readonly string[]): string[] {
  return Object.keys(row).filter(
    (key) => !used.includes(key) && row[key] != null && row[key] !== '',
  );
}

/** Parses cells with JSON text and leaves other values unchanged, or returns why a cell must not be parsed. */
function parsed(row: JsonObject, keys: readonly string[]): unknown[] | string {
  const values: unknown[] = [];
  for (const key of keys) {
    const value = row[key];
    const bad = typeof value === 'string' ? scanJson(value, LIMITS) : null;
    if (bad) return `${shown(key)} contains invalid JSON: ${bad}`;
    values.push(typeof value === 'string' ? jsonOf(value) : value);
  }
  return values;
}

function jsonOf(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The task's check reports that this is not a list.
    return text;
  }
}
