import type { JsonSchema } from '@graft/contracts';
import { described, FieldProblem, isOf, type Refusal } from './field-problem.js';

/** One field of a form generated from a JSON schema. */
export interface Field {
  readonly name: string;
  readonly kind: 'choice' | 'flag' | 'integer' | 'number' | 'text' | 'list' | 'json';
  readonly choices: readonly string[];
  readonly help: string;
  readonly fallback: unknown;
  readonly nullable: boolean;
  /** Whether all trials of a sweep must have the same value. */
  readonly sameInSweep: boolean;
}

type Node = { readonly [key: string]: unknown };

const asNode = (value: unknown): Node =>
  typeof value === 'object' && value !== null ? (value as Node) : {};

const isNull = (node: Node): boolean => node['type'] === 'null';

/** Returns the alternatives of a node, with nested unions flattened. */
function flattened(node: Node): Node[] {
  const list = (node['anyOf'] ?? node['oneOf']) as unknown[] | undefined;
  return list ? list.flatMap((part) => flattened(asNode(part))) : [node];
}

function variants(node: Node): { options: Node[]; nullable: boolean } {
  const all = flattened(node);
  const types = node['type'];
  const nullable = all.some(isNull) || (Array.isArray(types) && types.includes('null'));
  return { options: all.filter((part) => !isNull(part)), nullable };
}

function kindOf(options: readonly Node[]): Field['kind'] {
  const types = options
    .flatMap((n) => (Array.isArray(n['type']) ? (n['type'] as string[]) : [String(n['type'])]))
    .filter((t) => t !== 'null');
  if (options.length === 1 && Array.isArray(options[0]?.['enum'])) return 'choice';
  if (options.length > 0 && options.every((n) => n['const'] !== undefined)) return 'choice';
  if (types.length !== 1)
    return types.every((t) => t === 'string' || t === 'array') ? 'text' : 'json';
  if (types[0] === 'boolean') return 'flag';
  if (types[0] === 'integer') return 'integer';
  if (types[0] === 'number') return 'number';
  if (types[0] === 'array') return 'list';
  return types[0] === 'string' ? 'text' : 'json';
}

/** Returns the fields of an object schema, in its order. Constants (peft_type) are omitted. */
export function fieldsOf(schema: JsonSchema): Field[] {
  return Object.entries(asNode(schema['properties'])).flatMap(([name, raw]) => {
    const node = asNode(raw);
    if (node['const'] !== undefined) return [];
    const { options, nullable } = variants(node);
    const kind = kindOf(options);
    const choices = options
      .flatMap(
        (n) =>
          (n['enum'] as unknown[] | undefined) ?? (n['const'] !== undefined ? [n['const']] : []),
      )
      .map(String);
    return [
      {
        name,
        kind,
        choices,
        help: String(node['description'] ?? ''),
        fallback: node['default'],
        nullable,
        sameInSweep: node['x-same-in-sweep'] === true,
      },
    ];
  });
}

/** Represents null in a field whose default is not null. */
export const NONE = 'none';

/**
 * Converts typed text to the API's value; undefined if the field is empty. Lists can be separated
 * by commas. If several types are allowed, text that parses as JSON (true, 3, ["a"]) is used as
 * such.
 */
export function parsed(field: Field, typed: string): unknown {
  const text = typed.trim();
  if (text === '') return undefined;
  if (text === NONE && field.nullable && field.fallback === undefined) return null;
  if (field.kind === 'flag') return text === 'true';
  if (field.kind === 'integer' || field.kind === 'number')
    return Number.isNaN(Number(text)) ? text : Number(text);
  if (field.kind === 'choice') return text;
  if (field.kind === 'json' || /^[[{]/.test(text)) {
    const value = json(text);
    return value === undefined ? (json(`[${text}]`) ?? text) : value;
  }
  return field.kind === 'list' || (field.kind === 'text' && text.includes(','))
    ? text.split(',').map((part) => part.trim())
    : text;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

export function collect(
  fields: readonly Field[],
  values: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const entries = fields.map(
    (field) => [field.name, parsed(field, values[field.name] ?? '')] as const,
  );
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

const shownDefault = (value: unknown): string =>
  value === undefined
    ? ''
    : value === null
      ? 'none'
      : typeof value === 'string'
        ? value
        : JSON.stringify(value);

/** Returns the error if it concerns one of these fields. */
export const wrongIn = (
  wrong: Refusal | null,
  prefix: string,
  fields: readonly Field[],
): Refusal | null => (fields.some(({ name }) => isOf(wrong, `${prefix}.${name}`)) ? wrong : null);

export interface SchemaFormProps {
  readonly prefix: string;
  readonly fields: readonly Field[];
  readonly values: Readonly<Record<string, string>>;
  readonly change: (name: string, value: string) => void;
  /** Last error of the API. Its field is marked. */
  readonly wrong: Refusal | null;
}

export function SchemaForm({ prefix, fields, values, change, wrong }: SchemaFormProps) {
  return (
    <div className="fields">
      {fields.map((field) => {
        const id = `${prefix}.${field.name}`;
        const bad = isOf(wrong, id);
        return (
          <div key={id} className={bad ? 'field wrong' : 'field'}>
            <label htmlFor={id}>{field.name}</label>
            <Input
              id={id}
              field={field}
              value={values[field.name] ?? ''}
              change={(value) => change(field.name, value)}
              bad={bad}
            />
            {bad && <FieldProblem id={id} wrong={wrong} />}
            {field.help && <small id={`${id}-help`}>{field.help}</small>}
          </div>
        );
      })}
    </div>
  );
}

function Input({
  id,
  field,
  value,
  change,
  bad,
}: {
  id: string;
  field: Field;
  value: string;
  change: (value: string) => void;
  bad: boolean;
}) {
  const fallback = shownDefault(field.fallback);
  const shared = {
    id,
    value,
    'aria-invalid': bad,
    'aria-describedby': described(id, { help: field.help !== '', bad }),
  };
  if (field.kind === 'flag' || field.kind === 'choice') {
    const choices = field.kind === 'flag' ? ['true', 'false'] : field.choices;
    return (
      <select {...shared} onChange={(e) => change(e.target.value)}>
        <option value="">{fallback ? `${fallback} (default)` : 'default'}</option>
        {choices.map((choice) => (
          <option key={choice}>{choice}</option>
        ))}
      </select>
    );
  }
  const numeric = field.kind === 'integer' || field.kind === 'number';
  return (
    <input
      {...shared}
      inputMode={numeric ? 'decimal' : 'text'}
      placeholder={fallback || (field.nullable ? 'none' : '')}
      onChange={(e) => change(e.target.value)}
    />
  );
}
