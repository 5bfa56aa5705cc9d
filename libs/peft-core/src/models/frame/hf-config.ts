/** config.json of transformers, read by a table: each key that a family reads, with its type, its range and its default. */
import { DomainError } from '@graft/contracts';
import type { z } from 'zod';
import { shown } from '../../data/json-scan.js';
import type { RopeOptions } from '../../nn/layers/rope.js';
import type { HfConfig } from '../../nn/hf-files.js';

/** What a value should be, or null where it is. */
type Check = (value: unknown) => string | null;

/** A type of values; T is what a value is that passes. */
interface Kind<T> {
  readonly check: Check;
  readonly type?: T;
}

export interface HfField<T = unknown> {
  readonly check: Check;
  readonly required: boolean;
  /** When the key is missing or null. */
  readonly otherwise: T;
  /** Whether null stays null. */
  readonly keepsNull: boolean;
}

export type HfTable = Readonly<Record<string, HfField>>;
export type HfValues<T extends HfTable> = {
  readonly [K in keyof T]: T[K] extends HfField<infer V> ? V : never;
};

const kind = <T>(check: Check): Kind<T> => ({ check });

export const integer = (least: number, most: number): Kind<number> =>
  kind((value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? null
      : `an integer from ${least} to ${most}`,
  );
export const real = (most: number): Kind<number> =>
  kind((value) =>
    typeof value === 'number' && value > 0 && value <= most
      ? null
      : `a number above 0, at most ${most}`,
  );
export const fraction: Kind<number> = kind((value) =>
  typeof value === 'number' && value >= 0 && value <= 1 ? null : 'a number from 0 to 1',
);
export const flag: Kind<boolean> = kind((value) =>
  typeof value === 'boolean' ? null : 'true or false',
);
export const word: Kind<string> = kind((value) =>
  typeof value === 'string' && value.length <= 200 ? null : 'a short string',
);
/** What a key may hold that is not looked into. */
export const scalar: Kind<number | string | boolean> = kind((value) =>
  typeof value === 'number' || flag.check(value) === null || word.check(value) === null
    ? null
    : 'a number, a short string, or true or false',
);
export const words: Kind<readonly string[]> = kind((value) =>
  Array.isArray(value) && value.length <= 2000 && value.every((item) => word.check(item) === null)
    ? null
    : 'an array of strings',
);
/** By layer, 1 or 0. */
export const flags: Kind<readonly number[]> = kind((value) =>
  Array.isArray(value) && value.length <= 2000 && value.every((item) => item === 0 || item === 1)
    ? null
    : 'an array of 0 and 1',
);
export const layerNumbers: Kind<readonly number[]> = kind((value) =>
  Array.isArray(value) &&
  value.length <= 2000 &&
  value.every((item) => integer(0, 1000).check(item) === null)
    ? null
    : 'an array of layer indices',
);
/** By convolution. */
export const sizes: Kind<readonly number[]> = kind((value) =>
  Array.isArray(value) &&
  value.length >= 1 &&
  value.length <= 100 &&
  value.every((item) => integer(1, 1 << 16).check(item) === null)
    ? null
    : 'an array of integers ≥ 1',
);
export const object: Kind<Readonly<Record<string, unknown>>> = kind((value) =>
  value !== null && typeof value === 'object' && !Array.isArray(value) ? null : 'an object',
);
export const tokenIds: Kind<number | readonly number[]> = kind((value) =>
  [value].flat().every((id) => Number.isInteger(id) && (id as number) >= 0)
    ? null
    : 'a token id or a list of token ids',
);

export const SIZE = integer(1, 1 << 20);
export const VOCABULARY = integer(1, 1 << 24);
export const LAYERS = integer(1, 1000);
export const HEADS = integer(1, 1024);
export const HEAD_SIZE = integer(1, 4096);
export const POSITIONS = integer(1, 1 << 24);
export const EPSILON = real(1);
export const CHANNELS = integer(1, 64);
/** Of a picture or a patch: a side, or height and width. */
export const PICTURE: Kind<number | readonly number[]> = kind((value) =>
  (Array.isArray(value) ? value.length === 2 : true) &&
  [value].flat().every((side) => SIDE.check(side) === null)
    ? null
    : 'a size from 1 to 4096 pixels, or two of them',
);
const SIDE = integer(1, 4096);
/** Height and width. */
export const sides = (size: number | readonly number[]): [number, number] => {
  const [height = 0, width = height] = [size].flat();
  return [height, width];
};

/** A key that there must be. */
export const required = <T>({ check }: Kind<T>): HfField<T> => ({
  check,
  required: true,
  otherwise: undefined as T,
  keepsNull: false,
});
/** A key that there may be; null is as good as missing. */
export const optional = <T>({ check }: Kind<T>): HfField<T | null> => ({
  check,
  required: false,
  otherwise: null,
  keepsNull: false,
});
/** The same with a default. */
export const or = <T>({ check }: Kind<T>, otherwise: T): HfField<T> => ({
  check,
  required: false,
  otherwise,
  keepsNull: false,
});
/** A key whose null is not the default. */
export const nullable = <T>({ check }: Kind<T>): HfField<T | null | undefined> => ({
  check,
  required: false,
  otherwise: undefined,
  keepsNull: true,
});

/** Keys of every family. */
export const COMMON = {
  model_type: required(word),
  architectures: optional(words),
  dtype: optional(word),
  torch_dtype: optional(word),
  bos_token_id: optional(tokenIds),
  eos_token_id: optional(tokenIds),
  pad_token_id: optional(tokenIds),
} satisfies HfTable;

/** What is wrong with the values of a config, key by key; null is allowed everywhere. */
export function hfProblems(config: Readonly<Record<string, unknown>>, table: HfTable): string[] {
  return Object.entries(config).flatMap(([key, value]) => {
    const wanted =
      value === null || !Object.hasOwn(table, key) ? null : (table[key] as HfField).check(value);
    return wanted === null ? [] : [`config.json: ${key} must be ${wanted}, got ${shown(value)}`];
  });
}

/** The values of a table. @throws DomainError invalid_model naming the key that is missing or wrong */
export function readHf<T extends HfTable>(config: HfConfig, table: T): HfValues<T> {
  const fail = (message: string): never => {
    throw new DomainError('invalid_model', message, 'model');
  };
  const [problem] = hfProblems(config, table);
  if (problem !== undefined) fail(problem);
  const values = Object.entries(table).map(([key, field]) => {
    const value = config[key];
    if (value === null && field.keepsNull) return [key, null];
    if (value !== undefined && value !== null) return [key, value];
    if (field.required) fail(`config.json: ${key} is missing`);
    return [key, field.otherwise];
  });
  return Object.fromEntries(values) as HfValues<T>;
}

/** transformers' names of activations. */
const ACTIVATIONS = {
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
} as const;

/** @throws DomainError for an activation that is not known */
export function activation(name: string): (typeof ACTIVATIONS)[keyof typeof ACTIVATIONS] {
  if (Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name as keyof typeof ACTIVATIONS];
  const known = Object.keys(ACTIVATIONS).join(', ');
  const message = `config.json: unknown activation "${name}"; supported: ${known}`;
  throw new DomainError('unsupported', message, 'model');
}

/** Where a config says how positions are rotated. */
export const ROPE_KEYS = {
  rope_theta: optional(real(1e12)),
  rope_scaling: optional(object),
  rope_parameters: optional(object),
} satisfies HfTable;

/** Rotary options of transformers 5 (`rope_parameters`) or 4 (`rope_theta` and `rope_scaling`). */
export function ropeOptions({
  rope_theta: theta,
  rope_scaling: scaling,
  rope_parameters: parameters,
}: HfValues<typeof ROPE_KEYS>): z.input<typeof RopeOptions> {
  const given: Readonly<Record<string, unknown>> = { ...scaling, ...parameters };
  const type = given['rope_type'] ?? given['type'] ?? 'default';
  if (!['default', 'linear', 'llama3'].includes(String(type))) {
    const message = `config.json: rope_type ${shown(type)} is not supported; supported: default, linear, llama3`;
    throw new DomainError('unsupported', message, 'model');
  }
  // its numbers are checked with the other options
  return {
    ...given,
    rope_type: type,
    rope_theta: given['rope_theta'] ?? theta ?? 10000,
  } as z.input<typeof RopeOptions>;
}

type Scaled = Pick<HfValues<typeof ROPE_KEYS>, 'rope_theta' | 'rope_scaling'>;

/**
 * Rotary options by layer of models that have one kind for layers which see a window and one for those which see
 * everything: in transformers 5 an object for each, before what each family had.
 */
export function layerRopes(
  { rope_parameters: parameters }: Pick<HfValues<typeof ROPE_KEYS>, 'rope_parameters'>,
  slides: readonly boolean[],
  otherwise: Readonly<Record<'full' | 'sliding', Scaled>>,
): ReturnType<typeof ropeOptions>[] {
  const unknown = Object.keys(parameters ?? {}).find(
    (key) => !/^(full|sliding)_attention$/.test(key),
  );
  if (unknown !== undefined) {
    const message = `config.json: rope_parameters has ${shown(unknown)}; expected full_attention and sliding_attention`;
    throw new DomainError('unsupported', message, 'model');
  }
  const given = (kind: string) => {
    const value = parameters?.[kind] ?? null;
    if (value === null || object.check(value) === null)
      return value as Record<string, unknown> | null;
    const message = `config.json: rope_parameters.${kind} must be an object, got ${shown(value)}`;
    throw new DomainError('invalid_model', message, 'model');
  };
  const of = (kind: 'full' | 'sliding') =>
    ropeOptions({ ...otherwise[kind], rope_parameters: given(`${kind}_attention`) });
  const [full, sliding] = [of('full'), of('sliding')];
  return slides.map((isSliding) => (isSliding ? sliding : full));
}

/** By layer, whether it sees a window only. @param otherwise where config.json has no layer_types */
export function layersThatSlide(
  {
    layer_types: types,
    num_hidden_layers: layers,
  }: { readonly layer_types: readonly string[] | null; readonly num_hidden_layers: number },
  otherwise: (layer: number) => boolean,
): boolean[] {
  if (!types) return Array.from({ length: layers }, (_, layer) => otherwise(layer));
  const other = types.find((type) => !['sliding_attention', 'full_attention'].includes(type));
  if (other === undefined) return types.map((type) => type === 'sliding_attention');
  const message = `config.json: layer_types has ${shown(other)}; supported: sliding_attention, full_attention`;
  throw new DomainError('unsupported', message, 'model');
}

/** Refuses what config.json says, as `key: value`, and what that would be. @throws DomainError */
export function refuse(given: string, what: string): never {
  const message = `config.json: ${given}: ${what} is not supported`;
  throw new DomainError('unsupported', message, 'model');
}
