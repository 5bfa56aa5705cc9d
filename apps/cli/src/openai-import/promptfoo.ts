import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { contentId, isObject, listOf, textOf, type From, type Json } from './found.js';
import type { Criterion } from './evals.js';
import { mapAdvice, modelFor, type ModelMap } from './model-names.js';

// Converts a Promptfoo configuration to evals. In Promptfoo each test has its own assertions, while all items of an eval
// share its criteria. So tests with the same kinds of assertions form one eval, and the expected values are in the items.

export interface PromptfooEval {
  /** Id derived from the tests. */
  readonly id: string;
  readonly name: string;
  readonly criteria: readonly Criterion[];
  readonly items: readonly Json[];
}

/** Combination of a prompt and a model: one run of each eval. */
export interface PromptfooRun {
  readonly name: string;
  /** Model in Promptfoo without the prefix "openai:". Null if there is no provider. */
  readonly model: string | null;
  readonly template: readonly Json[];
  readonly sampling: Json;
}

export interface Promptfoo {
  readonly evals: readonly PromptfooEval[];
  readonly runs: readonly PromptfooRun[];
  readonly notes: readonly string[];
}

export async function readPromptfoo(
  { path, value }: From<Json>,
  map: ModelMap,
): Promise<Promptfoo> {
  const notes: string[] = [];
  const folder = dirname(path);
  const given = await testsOf(value['tests'], folder, notes);
  const byDefault = isObject(value['defaultTest']) ? value['defaultTest'] : {};
  const tests = given.flatMap((test) => expanded(merged(byDefault, test)));
  const groups = new Map<string, Test[]>();
  for (const test of tests) {
    const key = JSON.stringify(test.asserts.map(kindOf));
    groups.set(key, [...(groups.get(key) ?? []), test]);
  }
  const title = textOf(value['description']) ?? basename(path, extname(path));
  const evals = [...groups.values()].map((group, n) => {
    const of = groups.size > 1 ? ` (${n + 1} of ${groups.size})` : '';
    return { name: `${title}${of}`, ...evalOf(group, map), id: contentId('promptfoo', group) };
  });
  return { evals, runs: await runsOf(value, folder, notes), notes };
}

interface Test {
  readonly vars: Json;
  readonly asserts: readonly Json[];
}

function merged(byDefault: Json, test: Json): Test {
  const vars = {
    ...(isObject(byDefault['vars']) ? byDefault['vars'] : {}),
    ...(isObject(test['vars']) ? test['vars'] : {}),
  };
  const asserts = [...listOf(byDefault['assert']), ...listOf(test['assert'])].filter(isObject);
  const provider = graderOf(test) ?? graderOf(byDefault);
  return {
    vars,
    asserts: asserts.map((one) =>
      one['provider'] === undefined && provider !== null ? { ...one, provider } : one,
    ),
  };
}

const graderOf = ({ options }: Json): unknown =>
  isObject(options) ? (options['provider'] ?? null) : null;

/** Expands variables with several values to one test per value. */
function expanded({ vars, asserts }: Test): Test[] {
  let all: Record<string, unknown>[] = [{}];
  for (const [name, value] of Object.entries(vars)) {
    const values = Array.isArray(value) && value.every((one) => !isObject(one)) ? value : [value];
    all = all.flatMap((before) => values.map((one: unknown) => ({ ...before, [name]: one })));
  }
  return all.map((one) => ({ vars: one, asserts }));
}

/** Part of an assertion that identifies its criterion: everything except the expected value. */
const kindOf = ({ value: _, ...rest }: Json): unknown => rest;

function evalOf(group: readonly Test[], map: ModelMap): Pick<PromptfooEval, 'criteria' | 'items'> {
  const [{ asserts } = { asserts: [] }] = group;
  const used = new Set<string>();
  const criteria = asserts.map((one, n) => {
    const metric = textOf(one['metric']) ?? String(one['type']);
    const name = used.has(metric) ? `${metric} (${n + 1})` : metric;
    used.add(name);
    return criterion(one, { name, reference: `{{item.${expected(n)}}}` }, map);
  });
  const items = group.map((test) => ({
    ...test.vars,
    ...Object.fromEntries(
      test.asserts.map((one, n) => [expected(n), rendered(one['value'], test.vars)]),
    ),
  }));
  return { criteria, items };
}

const expected = (n: number): string => `expected_${n + 1}`;

/** Replaces the variables in the value of an assertion. */
function rendered(value: unknown, vars: Json): unknown {
  if (typeof value !== 'string') return value ?? '';
  return value.replace(VARIABLE, (whole, name: string) => {
    const found = name
      .split('.')
      .reduce<unknown>((at, key) => (isObject(at) ? at[key] : undefined), vars);
    return found === undefined ? whole : typeof found === 'string' ? found : JSON.stringify(found);
  });
}

const VARIABLE = /\{\{\s*([\w.]+)\s*\}\}/g;

const CHECKS: Readonly<Record<string, string>> = {
  equals: 'eq',
  'not-equals': 'ne',
  contains: 'like',
  icontains: 'ilike',
};

/** Metrics with Promptfoo's default thresholds. */
const SIMILARITIES: Readonly<Record<string, readonly [metric: string, threshold: number]>> = {
  'rouge-n': ['rouge_1', 0.75],
  bleu: ['bleu', 0.5],
  gleu: ['gleu', 0.5],
  meteor: ['meteor', 0.5],
};

const MODEL_GRADED = [
  'llm-rubric',
  'model-graded-closedqa',
  'factuality',
  'model-graded-factuality',
];

function criterion(
  assertion: Json,
  { name, reference }: { readonly name: string; readonly reference: string },
  map: ModelMap,
): Criterion {
  const type = String(assertion['type']);
  const input = '{{sample.output_text}}';
  const none = (note: string): Criterion => ({ body: null, name, note });
  if (isObject(assertion['value']) || Array.isArray(assertion['value']))
    return none(`${type} of a list or an object has no counterpart`);
  const check = CHECKS[type];
  if (check)
    return {
      body: { type: 'string_check', name, input, operation: check, reference },
      name,
      note: null,
    };
  const similarity = SIMILARITIES[type];
  if (similarity) {
    const [metric, threshold] = similarity;
    const body = {
      type: 'text_similarity',
      name,
      input,
      reference,
      evaluation_metric: metric,
      pass_threshold: Number(assertion['threshold'] ?? threshold),
    };
    return { body, name, note: null };
  }
  if (!MODEL_GRADED.includes(type)) return none(`assertions of type ${type} have no counterpart`);
  const provider = modelName(providerId(assertion['provider'])) ?? type;
  const model = modelFor(map, provider) ?? modelFor(map, type);
  if (model === null) return none(`${provider} is a hosted model; ${mapAdvice(provider)}`);
  const content = `Does the answer fulfill this? ${reference}\n\nThe answer:\n${input}\n\n1 if it does, 0 if it does not.`;
  const body = {
    type: 'score_model',
    name,
    model,
    input: [{ role: 'user', content }],
    pass_threshold: Number(assertion['threshold'] ?? 0.5),
  };
  return { body, name, note: `graded by ${model} with a prompt of Graft` };
}

const providerId = (provider: unknown): string | null =>
  textOf(isObject(provider) ? provider['id'] : provider);

/** Model name without its provider: openai:chat:gpt-4o becomes gpt-4o. */
const modelName = (id: string | null): string | null =>
  id === null ? null : id.replace(/^openai:(?:(?:chat|responses|completion):)?/, '');

async function testsOf(tests: unknown, folder: string, notes: string[]): Promise<Json[]> {
  if (typeof tests === 'string')
    return testsOf(await document(tests, folder, notes), folder, notes);
  const all: Json[] = [];
  for (const one of listOf(tests)) {
    if (typeof one === 'string') all.push(...(await testsOf(one, folder, notes)));
    else if (isObject(one)) all.push({ ...one, vars: await varsOf(one['vars'], folder, notes) });
  }
  return all;
}

async function varsOf(vars: unknown, folder: string, notes: string[]): Promise<Json> {
  if (typeof vars === 'string') return varsOf(await document(vars, folder, notes), folder, notes);
  const read = Object.entries(isObject(vars) ? vars : {}).map(async ([name, value]) => [
    name,
    typeof value === 'string' && value.startsWith('file://')
      ? await document(value, folder, notes, true)
      : value,
  ]);
  return Object.fromEntries(await Promise.all(read)) as Json;
}

/** Reads a file of the configuration: JSON Lines, JSON, YAML or text. */
async function document(
  name: string,
  folder: string,
  notes: string[],
  isText = false,
): Promise<unknown> {
  const file = name.replace(/^file:\/\//, '');
  const kind = extname(file).toLowerCase();
  try {
    const text = await readFile(join(folder, file), 'utf8');
    if (kind === '.jsonl')
      return text
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => JSON.parse(line) as unknown);
    if (['.json', '.yaml', '.yml'].includes(kind)) return parseYaml(text) as unknown;
    if (isText || ['.txt', '.md'].includes(kind)) return text;
    notes.push(
      `${name}: ${kind === '' ? 'files without an extension' : `${kind} files`} are not supported`,
    );
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n');
    notes.push(`${name} cannot be read: ${reason}`);
  }
  return null;
}

async function runsOf(config: Json, folder: string, notes: string[]): Promise<PromptfooRun[]> {
  const templates: { readonly label: string; readonly template: readonly Json[] }[] = [];
  const prompts = [config['prompts']].flat();
  for (const [n, prompt] of prompts.entries()) {
    const text = isObject(prompt) ? (prompt['raw'] ?? prompt['id']) : prompt;
    const label = (isObject(prompt) ? textOf(prompt['label']) : null) ?? `prompt ${n + 1}`;
    if (typeof text !== 'string') continue;
    const isFile = text.startsWith('file://') || /^[\w./-]+\.(?:txt|md|json|ya?ml)$/.test(text);
    const read = isFile ? await document(text, folder, notes, true) : text;
    const template = messagesOf(read);
    if (template === null)
      notes.push(`${label} has no counterpart: templates support only {{variables}}`);
    else templates.push({ label, template });
  }
  const providers = [config['providers'] ?? []].flat();
  const models = providers.map((one) => {
    const given = isObject(one) && isObject(one['config']) ? one['config'] : {};
    return { model: modelName(providerId(one)), sampling: samplingOf(given) };
  });
  const targets = models.length > 0 ? models : [{ model: null, sampling: {} }];
  return targets.flatMap(({ model, sampling }) =>
    templates.map(({ label, template }) => ({
      name: [templates.length > 1 ? label : null, model].filter(Boolean).join(', ') || label,
      model,
      template,
      sampling,
    })),
  );
}

function samplingOf(config: Json): Json {
  const numbers = {
    max_completion_tokens: config['max_tokens'] ?? config['max_completion_tokens'],
    temperature: config['temperature'],
    top_p: config['top_p'],
    seed: config['seed'],
  };
  return Object.fromEntries(
    Object.entries(numbers).filter(([, value]) => typeof value === 'number'),
  );
}

/** Messages of a prompt, which is text or messages as JSON. Null if it uses Nunjucks features other than variables. */
function messagesOf(prompt: unknown): Json[] | null {
  const given = typeof prompt === 'string' ? chat(prompt) : prompt;
  const messages = Array.isArray(given)
    ? given.filter(isObject)
    : [{ role: 'user', content: String(given) }];
  const all = messages.map(({ role, content }) => ({
    role: String(role),
    content: String(content).replace(VARIABLE, (_, name: string) => `{{item.${name}}}`),
  }));
  const left = all.some(({ content }) => /\{%|\{#|\{\{(?!item\.[\w.]+\}\})/.test(content));
  return left || all.length === 0 ? null : all;
}

function chat(text: string): unknown {
  if (!text.trimStart().startsWith('[')) return text;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : text;
  } catch {
    return text;
  }
}
