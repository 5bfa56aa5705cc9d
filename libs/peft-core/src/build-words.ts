/**
 * What a build can do, as words, and which of them a job needs: so that a worker of an older build is given no job that
 * it would fail at. `peft:LORA`, `peft:LORA.use_dora`, `peft:LORA.init_lora_weights=pissa`, `task:seq_cls`,
 * `option:optimizer=lorafa`, `operation:export.format=gguf`, `quantization:nf4`, `model:llama`, `rope:longrope`. They are
 * derived from the registries and their schemas: a new plug-in, field or choice is a word by itself. What is new under an
 * old name has a line in ABILITIES.
 */
import { isDeepStrictEqual } from 'node:util';
import { AdapterOperation, DomainError, TrainingOptions } from '@graft/contracts';
import type { JsonSchema, Spec } from '@graft/contracts';
import { z } from 'zod';
import { full } from './methods/full.js';
import { methods } from './methods/registry.js';
import type { HfConfig } from './nn/hf-files.js';
import { models, optionsOf } from './models/registry.js';
import { OLDEST_WORDS } from './oldest-words.js';
import { RopeOptions } from './nn/layers/rope.js';
import { alikeIn, type ModelOptions, type StackOptions } from './nn/outline/stack-options.js';
import { quantizers } from './quant/registry.js';
import { tasks } from './tasks/registry.js';

/** Of workers that end a run early when they are told to: nothing of its Spec says that it may be. */
export const ENDS_EARLY = 'command:finish';

/** What a build does otherwise than one before, where no name or choice is new. */
const ABILITIES: Readonly<
  Record<
    string,
    (spec: Spec, stacks: readonly StackOptions[], options: ModelOptions | null) => boolean
  >
> = {
  'option:load_best_model_at_end': ({ load_best_model_at_end: asked }) => asked === true,
  'option:measure_forgetting': ({ measure_forgetting: asked }) => asked === true,
  'option:loss_ledger': ({ loss_ledger: asked }) => asked === true,
  'option:loss_ledger.batches': ({ loss_ledger: asked, task }) =>
    asked === true && tasks.some(({ name, wholeBatches }) => name === task && wholeBatches),
  'option:loss_ledger_epochs': ({ loss_ledger_epochs: asked }) => asked !== undefined,
  'option:sample_prompts': ({ sample_prompts: asked }) => asked !== undefined,
  [ENDS_EARLY]: () => false,
  'rope:longrope.long': ({ max_seq_len: most }, stacks) =>
    stacks.some((stack) => Math.min(most ?? 0, stack.maxPositions) > alikeIn(stack)),
  'config:architectures': (_, __, options) => options?.lmHead === false,
  'config:use_weighted_layer_sum': (_, __, options) => options?.layerSum !== undefined,
};

/** Fields of a Spec that say which plug-ins it is of, and their options: these have words of their own. */
const PLUG_INS: ReadonlySet<string> = new Set(['task', 'task_options', 'quantization']);

const schemaOf = (schema: z.ZodType): JsonSchema => z.toJSONSchema(schema, { io: 'input' });

/** A schema by the word that it begins with. */
type Schemas = ReadonlyMap<string, JsonSchema>;

function namedSchemas(): Schemas {
  const options = (schemaOf(TrainingOptions).properties ?? {}) as Record<string, JsonSchema>;
  const operations = AdapterOperation.options.map(
    (schema) => [`operation:${schema.shape.type.value}`, schemaOf(schema)] as const,
  );
  return new Map<string, JsonSchema>([
    ...methods.map(({ name, options }) => [`peft:${name}`, schemaOf(options)] as const),
    ...tasks.map(({ name, options }) => [`task:${name}`, schemaOf(options)] as const),
    ...Object.entries(options)
      .filter(([name]) => !PLUG_INS.has(name))
      .map(([name, schema]) => [`option:${name}`, schema] as const),
    ...operations,
    ...quantizers.map(({ name }) => [`quantization:${name}`, {}] as const),
    ...models.flatMap((model) => model.modelTypes.map((type) => [`model:${type}`, {}] as const)),
    ...RopeOptions.options.map(({ shape }) => [`rope:${shape.rope_type.value}`, {}] as const),
  ]);
}

let schemas: Schemas | undefined;
const known = (): Schemas => (schemas ??= namedSchemas());

/** A schema and those that it is one or all of. */
function branches(schema: JsonSchema): JsonSchema[] {
  const more = [schema['anyOf'], schema['oneOf'], schema['allOf']] as (JsonSchema[] | undefined)[];
  return [schema, ...more.flatMap((list) => (list ?? []).flatMap(branches))];
}

const fieldsOf = (schema: JsonSchema): Record<string, JsonSchema> =>
  Object.assign({}, ...branches(schema).map((one) => one['properties'] ?? {})) as Record<
    string,
    JsonSchema
  >;

/** Texts that a field may be, and patterns of more. */
function choicesOf(schema: JsonSchema): { texts: string[]; patterns: string[] } {
  const all = branches(schema);
  const isText = (one: unknown): one is string => typeof one === 'string';
  const texts = all.flatMap((one) => [
    ...((one['enum'] as unknown[] | undefined) ?? []),
    one['const'],
  ]);
  return { texts: texts.filter(isText), patterns: all.map((one) => one['pattern']).filter(isText) };
}

function wordsOf(word: string, schema: JsonSchema): string[] {
  const { texts, patterns } = choicesOf(schema);
  return [
    word,
    ...texts.map((text) => `${word}=${text}`),
    ...patterns.map((pattern) => `${word}=/${pattern}/`),
    ...Object.entries(fieldsOf(schema)).flatMap(([name, field]) =>
      wordsOf(`${word}.${name}`, field),
    ),
  ];
}

let words: ReadonlySet<string> | undefined;
const allWords = (): ReadonlySet<string> =>
  (words ??= new Set([
    ...[...known()].flatMap(([word, schema]) => wordsOf(word, schema)),
    ...Object.keys(ABILITIES),
  ]));

/** Everything that this build can do. */
export const buildWords = (): string[] => [...allWords()];

/**
 * What a worker's build can do.
 * @param words what it says that it can do; empty where it is of a build that says nothing
 * @param operations words of operations that such a build says that it does
 */
export function wordsSaid(words: readonly string[], operations: readonly string[]): string[] {
  if (words.length > 0) return [...new Set(words)];
  const isOf = (word: string): boolean =>
    operations.some((one) => word === one || word.startsWith(`${one}.`));
  return [...OLDEST_WORDS, ...buildWords().filter(isOf)];
}

/** What this build can do and one of these words cannot. */
export function lackedWords(words: readonly string[]): string[] {
  const has = new Set(words);
  return buildWords().filter((word) => !has.has(word));
}

const isUnused = (value: unknown, schema: JsonSchema | undefined): boolean =>
  value === null || value === undefined || isDeepStrictEqual(value, schema?.['default']);

function asked(word: string, value: unknown, schema: JsonSchema): string[] {
  if (typeof value === 'string') {
    const { patterns } = choicesOf(schema);
    const fitting = patterns.filter((pattern) => new RegExp(pattern).test(value));
    return [word, `${word}=${value}`, ...fitting.map((pattern) => `${word}=/${pattern}/`)];
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [word];
  const fields = fieldsOf(schema);
  const used = Object.entries(value).filter(([name, one]) => !isUnused(one, fields[name]));
  return [
    word,
    ...used.flatMap(([name, one]) => asked(`${word}.${name}`, one, fields[name] ?? {})),
  ];
}

const ofPlugIn = (word: string, options: unknown): string[] =>
  asked(word, options, known().get(word) ?? {});

function modelWords(spec: Spec, config: HfConfig | null): string[] {
  if (config === null) return [];
  const options = readable(config);
  const stacks = [options?.encoder, options?.decoder].filter((stack) => !!stack);
  const ropes = stacks.flatMap(({ rope, layerRopes = [] }) => [rope, ...layerRopes]);
  return [
    `model:${config.model_type}`,
    ...ropes.flatMap((rope) => (rope ? [`rope:${rope.rope_type}`] : [])),
    ...Object.entries(ABILITIES).flatMap(([word, needs]) =>
      needs(spec, stacks, options) ? [word] : [],
    ),
  ];
}

function readable(config: HfConfig): ModelOptions | null {
  try {
    return optionsOf(config);
  } catch (error) {
    // The worker that loads the base says what is wrong with it.
    if (error instanceof DomainError) return null;
    throw error;
  }
}

/**
 * What a build must be able to do for a job. What the job does not use is not among it, nor what this build does not
 * know either.
 * @param config of its base, where it is known
 */
export function neededWords(spec: Spec, config: HfConfig | null): string[] {
  const { operation, quantization, peft, adapters = [] } = spec;
  const training = [
    ...ofPlugIn(`peft:${peft?.peft_type ?? full.name}`, peft),
    ...adapters.flatMap((one) => ofPlugIn(`peft:${one.peft_type}`, one)),
    ...ofPlugIn(`task:${spec.task}`, spec.task_options),
    ...Object.entries(spec).flatMap(([name, value]) =>
      isUnused(value, known().get(`option:${name}`)) ? [] : ofPlugIn(`option:${name}`, value),
    ),
  ];
  const needed = [
    ...(operation
      ? ofPlugIn(`operation:${operation.type}`, { ...operation, type: null })
      : training),
    ...(quantization === null ? [] : [`quantization:${quantization}`]),
    ...modelWords(spec, config),
  ];
  return [...new Set(needed)].filter((word) => allWords().has(word));
}

function without(
  value: Readonly<Record<string, unknown>>,
  word: string,
  lacks: ReadonlySet<string>,
): Record<string, unknown> {
  const fields = fieldsOf(known().get(word) ?? {});
  return Object.fromEntries(
    Object.entries(value).filter(
      ([name, one]) => !lacks.has(`${word}.${name}`) || !isUnused(one, fields[name]),
    ),
  );
}

/** A Spec without what it does not use and a worker's build does not know: that would refuse the name. */
export function withoutUnknown(spec: Spec, lacks: readonly string[]): Record<string, unknown> {
  const unknown = new Set(lacks);
  const fields = Object.entries(spec).filter(([name, value]) => {
    const schema = known().get(`option:${name}`);
    return (
      !schema || !(value === null || (unknown.has(`option:${name}`) && isUnused(value, schema)))
    );
  });
  const ofMethod = <P extends { readonly peft_type: string }>(peft: P) =>
    without(peft, `peft:${peft.peft_type}`, unknown);
  return {
    ...Object.fromEntries(fields),
    peft: spec.peft && ofMethod(spec.peft),
    ...(spec.adapters && { adapters: spec.adapters.map(ofMethod) }),
    task_options: without(spec.task_options, `task:${spec.task}`, unknown),
  };
}

const KINDS: Readonly<Record<string, string>> = {
  peft: 'method',
  model: 'model type',
  rope: 'rotary positions',
  config: "config.json's",
};

/** A word as people read it: `method LORA, init_lora_weights=pissa`. */
function inWords(word: string): string {
  const [kind = '', rest = ''] = word.split(/:(.*)/s);
  const [name = '', more] = rest.split(/\.(.*)/s);
  return `${KINDS[kind] ?? kind} ${name}${more === undefined ? '' : `, ${more}`}`;
}

/** What is missing, as people read it: of a method that is, not each of its fields. */
export function missingInWords(missing: readonly string[]): string {
  const within = (word: string): boolean =>
    missing.some((other) => word.startsWith(`${other}.`) || word.startsWith(`${other}=`));
  return missing
    .filter((word) => !within(word))
    .map(inWords)
    .join('; ');
}
