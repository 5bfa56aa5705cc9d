// Fields of a form, read from a JSON schema, and their values.
import type { JsonSchema } from '@graft/contracts';

/** One field of a form generated from a JSON schema. */
export interface Field {
  readonly name: string;
  readonly kind: 'choice' | 'flag' | 'integer' | 'number' | 'text' | 'list' | 'json';
  readonly choices: readonly string[];
  /** Whether the choices are names, which are shown as they are. */
  readonly areNames?: boolean;
  readonly help: string;
  readonly fallback: unknown;
  readonly nullable: boolean;
  /** Whether all trials of a sweep must have the same value. */
  readonly sameInSweep: boolean;
  /** Range of a number. */
  readonly limits: Limits;
}

export interface Limits {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
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

const LIMITS = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'] as const;

const limitsOf = (node: Node): Limits =>
  Object.fromEntries(
    LIMITS.flatMap((name) => (typeof node[name] === 'number' ? [[name, node[name]]] : [])),
  );

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
        limits: options.length === 1 ? limitsOf(options[0] ?? {}) : {},
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
  const isNames = field.name.endsWith('_modules') && /^\w+$/.test(text);
  return field.kind === 'list' || isNames || (field.kind === 'text' && text.includes(','))
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

/** Returns what is wrong with a typed number, in the words of users, such as "at most 50"; null for valid and empty fields. */
export function numberProblem(
  { kind, limits, nullable }: Pick<Field, 'kind' | 'limits' | 'nullable'>,
  typed: string,
): string | null {
  const text = typed.trim();
  if ((kind !== 'integer' && kind !== 'number') || text === '') return null;
  if (nullable && text === NONE) return null;
  const value = Number(text);
  if (Number.isNaN(value)) return `a number, not “${text}”`;
  if (kind === 'integer' && !Number.isInteger(value)) return 'a whole number';
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = limits;
  if (minimum !== undefined && value < minimum) return `at least ${minimum}`;
  if (above !== undefined && value <= above) return `greater than ${above}`;
  if (maximum !== undefined && value > maximum) return `at most ${maximum.toLocaleString('en')}`;
  if (below !== undefined && value >= below) return `less than ${below}`;
  return null;
}
