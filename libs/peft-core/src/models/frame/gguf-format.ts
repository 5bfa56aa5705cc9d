/** How llama.cpp's files hold a family: what a model file says of it. Reading and writing them is io's. */
import type { ModelOptions } from '../../nn/outline/stack-options.js';

/** What a file says of its model. */
export interface GgufFacts {
  /** A positive number of `<architecture>.<key>`; undefined when it is not there. @throws DomainError for another value */
  optional(key: string): number | undefined;
  /** The same; @throws DomainError when it is not there */
  need(key: string): number;
  /** Numbers that were meant by float32s: 1e-5 for 9.999999747378752e-6. */
  needReal(key: string): number;
  flag(key: string): boolean | undefined;
  /** Whole numbers, 0 included, one for each block. @throws DomainError when it is not that */
  counts(key: string): readonly number[];
  hasTensor(name: string): boolean;
  /** How positions are rotated, as transformers 4 says it. */
  readonly rope: { readonly rope_theta: number; readonly rope_scaling: unknown };
}

/**
 * Orders of rows that differ from Hugging Face's. H heads of size d:
 *   pairs   row 2i + s of a head is Hugging Face's row i + s·d/2 (s = 0, 1)
 *   thirds  all heads' queries, then keys, then values; Hugging Face has the three of each head together
 */
export type GgufRows = 'pairs' | 'thirds';

/** A module of a file. */
export interface GgufModule {
  /** Hugging Face's path; '{n}' stands for the block. */
  readonly path: string;
  readonly rows?: GgufRows;
  /** Whether its rows belong to key heads. */
  readonly ofKeys?: boolean;
  /** A row for each channel of a convolution: [rows, columns] there, [rows, 1, columns] in Hugging Face's files. */
  readonly isKernel?: true;
  /** The file's numbers are Hugging Face's plus this. */
  readonly shift?: number;
}

export interface GgufFormat {
  /** `general.architecture`. */
  readonly architecture: string;
  /** Modules by their names in the file; 'blk.{n}.' before those of a block. */
  readonly modules: Readonly<Record<string, GgufModule>>;
  /** config.json, but for what is said the same way of all families: tokens, vocabulary, tied head. */
  config(facts: GgufFacts): { readonly model_type: string; readonly [key: string]: unknown };
  /** Left out: such files are read, and none are written. */
  readonly writes?: GgufWriting;
}

/** A value of a file's metadata, by its type there. */
export type GgufField =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly f32s: readonly number[] }
  | { readonly i32s: readonly number[] };

/** How a model is put in such a file. */
export interface GgufWriting {
  /** Values of config.json's model_type that it is for. */
  readonly modelTypes: readonly string[];
  /** Whether llama.cpp knows which layers see a window; else a file is for texts that no window cuts. */
  readonly hasWindows?: true;
  /**
   * Keys after `<architecture>.`, beside those that all have: sizes, heads, the norms' ε, how positions are rotated.
   * @throws DomainError for what llama.cpp computes otherwise
   */
  fields?(options: ModelOptions): Readonly<Record<string, GgufField>>;
}
