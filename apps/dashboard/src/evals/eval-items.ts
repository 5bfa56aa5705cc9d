// Items of an eval from a file that the user chose, and the requests that create an eval and its
// first run.

type Item = Readonly<Record<string, unknown>>;

/** Maximum size of an items file in bytes, because it is read in the browser. */
export const MAX_ITEMS_BYTES = 50_000_000;

/** Line of a file that is not an item. */
export class BadItem extends Error {
  constructor(line: number, reason: string) {
    super(`Line ${line}: ${reason}`);
    this.name = 'BadItem';
  }
}

const isObject = (value: unknown): value is Item =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Reads JSON Lines. A line is `{"item": {…}}`, as in OpenAI's evals, or the item itself.
 * @throws BadItem for a line that is not a JSON object, or if there is none
 */
export function parseItems(text: string): readonly Item[] {
  const items = text.split('\n').flatMap((line, n) => {
    if (line.trim() === '') return [];
    const value = parsed(line);
    if (!isObject(value)) throw new BadItem(n + 1, 'expected a JSON object, such as {"question": "2 + 2?", "answer": "4"}'); // prettier-ignore
    return [isObject(value['item']) ? value['item'] : value];
  });
  if (items.length === 0) throw new BadItem(1, 'the file has no items');
  return items;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}

/** Returns the names of the fields that every item has. */
export function fieldsIn(items: readonly Item[]): readonly string[] {
  const [first = {}] = items;
  return Object.keys(first).filter((name) => items.every((item) => name in item));
}

/** Returns the file to upload: one `{"item": {…}}` per line. */
export const itemLines = (items: readonly Item[]): string =>
  items.map((item) => `${JSON.stringify({ item })}\n`).join('');

export const OPERATIONS = [
  ['eq', 'is exactly'],
  ['like', 'contains'],
  ['ilike', 'contains, ignoring case'],
  ['fuzzy_match', 'is similar to'],
] as const;
export type Operation = (typeof OPERATIONS)[number][0];

export interface EvalDraft {
  readonly name: string;
  readonly operation: Operation;
  /** Template of the expected answer, such as `{{item.answer}}`. */
  readonly reference: string;
}

/** Similarity from which an answer passes. */
const THRESHOLD = 0.8;

/** Returns the body of `POST /evals`. */
export function evalBody({ name, operation, reference }: EvalDraft, fields: readonly string[]) {
  const answer = { input: '{{sample.output_text}}', reference };
  return {
    name,
    data_source_config: {
      type: 'custom',
      item_schema: {
        type: 'object',
        properties: Object.fromEntries(fields.map((field) => [field, {}])),
        required: fields,
      },
    },
    testing_criteria: [
      operation === 'fuzzy_match'
        ? {
            type: 'text_similarity',
            name: 'similar answer',
            evaluation_metric: 'fuzzy_match',
            pass_threshold: THRESHOLD,
            ...answer,
          }
        : { type: 'string_check', name: 'right answer', operation, ...answer },
    ],
  };
}

/** Returns the body of a run on a model: the prompt is a template of each item. */
export const runBody = (model: string, file: string, prompt: string) => ({
  name: model,
  data_source: {
    type: 'completions',
    model,
    source: { type: 'file_id', id: file },
    input_messages: { type: 'template', template: [{ role: 'user', content: prompt }] },
  },
});
