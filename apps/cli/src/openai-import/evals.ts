import { isObject, listOf, textOf, type Json } from './found.js';
import { mapAdvice, modelFor, type ModelMap } from './model-names.js';

// Converts evals of OpenAI's API to the body of POST /v1/evals.

export interface Criterion {
  /** Null if it has no counterpart; `note` has the reason. */
  readonly body: Record<string, unknown> | null;
  readonly name: string;
  readonly note: string | null;
}

export interface EvalBody {
  /** Body without the criteria. Null if there is no counterpart; `note` has the reason. */
  readonly body: Record<string, unknown> | null;
  readonly criteria: readonly Criterion[];
  readonly note: string | null;
}

export function evalBody(value: Json, map: ModelMap): EvalBody {
  const config = isObject(value['data_source_config']) ? value['data_source_config'] : {};
  const type = textOf(config['type']) ?? 'custom';
  if (type !== 'custom')
    return {
      body: null,
      criteria: [],
      note: `its items are OpenAI’s ${type}, which Graft does not store; only evals with "custom" items are imported`,
    };
  const schema = isObject(config['schema']) ? config['schema'] : {};
  const properties = isObject(schema['properties']) ? schema['properties'] : {};
  const item = config['item_schema'] ?? properties['item'];
  const samples = config['include_sample_schema'] === true || 'sample' in properties;
  const body: Record<string, unknown> = {
    name: textOf(value['name']) ?? '',
    data_source_config: {
      type: 'custom',
      item_schema: isObject(item) ? item : {},
      include_sample_schema: samples,
    },
  };
  const criteria = listOf(value['testing_criteria']).filter(isObject);
  return { body, criteria: distinct(criteria.map((one) => criterion(one, map))), note: null };
}

/** Supported fields by type of grader. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  string_check: ['input', 'operation', 'reference'],
  text_similarity: ['input', 'reference', 'evaluation_metric', 'pass_threshold'],
  score_model: ['model', 'input', 'range', 'pass_threshold', 'sampling_params'],
  label_model: ['model', 'input', 'labels', 'passing_labels'],
  // image_tag is ignored, because the operator chooses the interpreter.
  python: ['source', 'pass_threshold'],
};

function criterion(value: Json, map: ModelMap): Criterion {
  const type = textOf(value['type']) ?? '';
  const name = textOf(value['name']) ?? type;
  const none = (note: string): Criterion => ({ body: null, name, note });
  const fields = FIELDS[type];
  if (!fields) return none(`graders of type ${type || 'none'} have no counterpart`);
  const body: Record<string, unknown> = { type, name };
  for (const field of fields)
    if (value[field] !== undefined && value[field] !== null) body[field] = value[field];
  if (body['sampling_params'] !== undefined)
    body['sampling_params'] = pickFields(body['sampling_params'], GRADER_SAMPLING);
  const model = textOf(body['model']);
  if (model === null) return { body, name, note: null };
  if (hasParts(body['input']))
    return none('its messages have images or audio, which Graft does not support in evals');
  body['input'] = messages(body['input']);
  const here = modelFor(map, model);
  if (here === null) return none(`${model} is a hosted model; ${mapAdvice(model)}`);
  return { body: { ...body, model: here }, name, note: `graded by ${here} for ${model}` };
}

const GRADER_SAMPLING = ['max_completions_tokens', 'seed', 'temperature', 'top_p'];

const pickFields = (value: unknown, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(isObject(value) ? value : {}).filter(
      ([name, one]) => names.includes(name) && one !== null,
    ),
  );

/** Makes the names of criteria unique, because Graft identifies criteria by name. */
function distinct(criteria: readonly Criterion[]): Criterion[] {
  const used = new Set<string>();
  return criteria.map((one) => {
    let { name } = one;
    for (let n = 2; used.has(name); n++) name = `${one.name} (${n})`;
    used.add(name);
    return { ...one, name, body: one.body && { ...one.body, name } };
  });
}

const TEXT_PARTS = ['input_text', 'output_text', 'text'];

/** Whether a message has a part that is not text. */
const hasParts = (input: unknown): boolean =>
  listOf(input)
    .filter(isObject)
    .flatMap(({ content }) => [content].flat())
    .some((part) => isObject(part) && !TEXT_PARTS.includes(String(part['type'])));

function messages(input: unknown): readonly Json[] {
  return listOf(input)
    .filter(isObject)
    .map(({ role, content }) => ({
      role,
      content: [content]
        .flat()
        .map((part) => String(isObject(part) ? part['text'] : part))
        .join(''),
    }));
}

/** Source of a run's items. */
export type RunSource =
  | { readonly kind: 'file'; readonly id: string }
  | { readonly kind: 'content'; readonly rows: readonly Json[] };

export interface RunBody {
  readonly source: RunSource | null;
  /** `data_source` without its source. The model is still OpenAI's. */
  readonly dataSource: Record<string, unknown> | null;
  readonly model: string | null;
  readonly notes: readonly string[];
}

const SAMPLING = ['max_completion_tokens', 'temperature', 'top_p', 'seed'];
/** Names of the token limit in OpenAI's endpoints and their older versions. */
const TOKENS = ['max_completions_tokens', 'max_output_tokens', 'max_tokens'];

export function runBody(run: Json): RunBody {
  const runSource = isObject(run['data_source']) ? run['data_source'] : {};
  const type = textOf(runSource['type']) ?? '';
  const source = isObject(runSource['source']) ? runSource['source'] : {};
  const none = (note: string): RunBody => ({
    source: null,
    dataSource: null,
    model: null,
    notes: [note],
  });
  const of = sourceOf(source);
  if (of === null)
    return none(
      `its items are OpenAI’s ${String(source['type'] ?? 'own')}, which Graft cannot read`,
    );
  if (type === 'jsonl') return { source: of, dataSource: { type }, model: null, notes: [] };
  if (type !== 'completions' && type !== 'responses')
    return none(`a data source of type ${type} has no counterpart`);
  const input = isObject(runSource['input_messages']) ? runSource['input_messages'] : {};
  const notes: string[] = [];
  if (input['type'] === 'template' && hasParts(input['template']))
    return none('its messages have images or audio, which Graft does not support in evals');
  const params = {
    ...(isObject(runSource['sampling_params']) ? runSource['sampling_params'] : {}),
  } as Record<string, unknown>;
  for (const name of TOKENS) params['max_completion_tokens'] ??= params[name];
  const lost = Object.keys(params).filter(
    (name) => ![...SAMPLING, ...TOKENS].includes(name) && !isNothing(params[name]),
  );
  if (lost.length > 0)
    notes.push(`${lost.join(', ')} of its sampling_params are not supported and were skipped`);
  const dataSource = {
    type,
    input_messages:
      input['type'] === 'template'
        ? { type: 'template', template: messages(input['template']) }
        : { type: 'item_reference', item_reference: input['item_reference'] },
    sampling_params: pickFields(params, SAMPLING),
  };
  return {
    source: of,
    dataSource,
    model: textOf(runSource['model']) ?? textOf(run['model']),
    notes,
  };
}

const isNothing = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  (Array.isArray(value) && value.length === 0) ||
  (isObject(value) &&
    [value['type'], isObject(value['format']) && value['format']['type']].includes('text'));

function sourceOf(source: Json): RunSource | null {
  if (source['type'] === 'file_id' && textOf(source['id']))
    return { kind: 'file', id: String(source['id']) };
  if (source['type'] !== 'file_content') return null;
  const rows = listOf(source['content'])
    .filter(isObject)
    .map(({ item, sample }) => ({
      item: isObject(item) ? item : {},
      ...(isObject(sample) && typeof sample['output_text'] === 'string' ? { sample } : {}),
    }));
  return rows.length > 0 ? { kind: 'content', rows } : null;
}

/** Recorded answers of an OpenAI model, as rows of a run that grades them. Skips items without an answer. */
export function recordedRows(items: readonly Json[]): Json[] {
  return items.flatMap((one) => {
    const given = isObject(one['datasource_item']) ? one['datasource_item'] : {};
    const item =
      isObject(given['item']) && Object.keys(given).every((key) => ['item', 'sample'].includes(key))
        ? given['item']
        : given;
    const sample = isObject(one['sample']) ? one['sample'] : {};
    const last = listOf(sample['output']).filter(isObject).at(-1);
    const text =
      sample['output_text'] ??
      [last?.['content']]
        .flat()
        .map((part) => (isObject(part) ? part['text'] : part))
        .join('');
    return last === undefined && typeof sample['output_text'] !== 'string'
      ? []
      : [{ item, sample: { output_text: String(text) } }];
  });
}
