/**
 * Reads config.json of Transformers by a table with type, range and default of each key that a family reads.
 */
import { DomainError } from '@graft/contracts';
import type { z } from 'zod';
import { shown } from '../../data/json-scan.js';
import type { RopeOptions } from '../../nn/layers/rope.js';
import type { HfConfig } from '../../nn/hf-files.js';

/** Returns what a value must be, or null if it is valid. */
type Check = (value: unknown) => string | null;

/** Kind of values; T is the type of valid ones. */
interface Kind<T> {
  readonly check: Check;
  readonly type?: T;
}

export interface HfField<T = unknown> {
  readonly check: Check;
  readonly required: boolean;
  /** Value if the key is missing or null. */
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
/** Value of a key that is not checked further. */
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
/** 1 or 0 for each layer. */
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
/** Size of each convolution. */
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
/** Size of an image or a patch: the side of a square, or height and width. */
export const IMAGE_SIZE: Kind<number | readonly number[]> = kind((value) =>
  (Array.isArray(value) ? value.length === 2 : true) &&
  [value].flat().every((side) => SIDE.check(side) === null)
    ? null
    : 'a size from 1 to 4096 pixels, or two of them',
);
const SIDE = integer(1, 4096);
/** Returns height and width. */
export const sides = (size: number | readonly number[]): [number, number] => {
  const [height = 0, width = height] = [size].flat();
  return [height, width];
};

/** Required key. */
export const required = <T>({ check }: Kind<T>): HfField<T> => ({
  check,
  required: true,
  otherwise: undefined as T,
  keepsNull: false,
});
/** Optional key; null is the same as missing. */
export const optional = <T>({ check }: Kind<T>): HfField<T | null> => ({
  check,
  required: false,
  otherwise: null,
  keepsNull: false,
});
/** Optional key with a default for null and missing. */
export const or = <T>({ check }: Kind<T>, otherwise: T): HfField<T> => ({
  check,
  required: false,
  otherwise,
  keepsNull: false,
});
/** Optional key for which null and missing differ. */
export const nullable = <T>({ check }: Kind<T>): HfField<T | null | undefined> => ({
  check,
  required: false,
  otherwise: undefined,
  keepsNull: true,
});

/** Keys of all families. */
export const COMMON = {
  model_type: required(word),
  architectures: optional(words),
  dtype: optional(word),
  torch_dtype: optional(word),
  bos_token_id: optional(tokenIds),
  eos_token_id: optional(tokenIds),
  pad_token_id: optional(tokenIds),
} satisfies HfTable;

/** Returns an error for each key with an invalid value. Null is valid for all keys. */
export function hfProblems(config: Readonly<Record<string, unknown>>, table: HfTable): string[] {
  return Object.entries(config).flatMap(([key, value]) => {
    const wanted =
      value === null || !Object.hasOwn(table, key) ? null : (table[key] as HfField).check(value);
    return wanted === null ? [] : [`config.json: ${key} must be ${wanted}, got ${shown(value)}`];
  });
}

/**
 * Returns the values of a table's keys.
 * @throws DomainError invalid_model naming the missing or invalid key
 */
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

/** Activations by their names in Transformers. */
const ACTIVATIONS = {
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
} as const;

/** @throws DomainError for an unknown activation */
export function activation(name: string): (typeof ACTIVATIONS)[keyof typeof ACTIVATIONS] {
  if (Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name as keyof typeof ACTIVATIONS];
  const known = Object.keys(ACTIVATIONS).join(', ');
  const message = `config.json: unknown activation "${name}"; supported: ${known}`;
  throw new DomainError('unsupported', message, 'model');
}

/** Keys with rotary options. */
export const ROPE_KEYS = {
  rope_theta: optional(real(1e12)),
  rope_scaling: optional(object),
  rope_parameters: optional(object),
} satisfies HfTable;

/**
 * Returns the rotary options of Transformers 5 (`rope_parameters`) or 4 (`rope_theta` and `rope_scaling`).
 */
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
  // ModelOptions checks the values
  return {
    ...given,
    rope_type: type,
    rope_theta: given['rope_theta'] ?? theta ?? 10000,
  } as z.input<typeof RopeOptions>;
}

type Scaled = Pick<HfValues<typeof ROPE_KEYS>, 'rope_theta' | 'rope_scaling'>;

/**
 * Returns the rotary options by layer of models whose sliding-window layers and full-attention layers differ.
 * Transformers 5 has an object for each kind. Before, each family had its own keys.
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

/**
 * Returns whether each layer has a sliding window.
 * @param otherwise default if config.json has no layer_types
 */
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

/**
 * Rejects a config.
 * @param given `key: value` in config.json
 * @param what meaning of the value
 * @throws DomainError
 */
export function refuse(given: string, what: string): never {
  const message = `config.json: ${given}: ${what} is not supported`;
  throw new DomainError('unsupported', message, 'model');
}
