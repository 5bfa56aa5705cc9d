/** Content of a family's GGUF files (llama.cpp). The io folder reads and writes them. */
import type { ModelOptions } from '../../nn/outline/stack-options.js';

/** Metadata and tensor names of a GGUF file. */
export interface GgufFacts {
  /**
   * Returns the positive number of `<architecture>.<key>`; undefined if missing.
   * @throws DomainError for other values
   */
  optional(key: string): number | undefined;
  /** Same as `optional`, for a required key. @throws DomainError if it is missing */
  need(key: string): number;
  /** Same as `need`, for a decimal number stored as float32: returns 1e-5 for 9.999999747378752e-6. */
  needReal(key: string): number;
  flag(key: string): boolean | undefined;
  /** Returns integers ≥ 0, one per block. @throws DomainError for other values */
  counts(key: string): readonly number[];
  hasTensor(name: string): boolean;
  /** Rotary options in the format of Transformers 4. */
  readonly rope: { readonly rope_theta: number; readonly rope_scaling: unknown };
}

/**
 * Row orders that differ from Hugging Face. H heads of size d:
 *   pairs   row 2i + s of a head is Hugging Face's row i + s·d/2 (s = 0, 1)
 *   thirds  all heads' queries, then keys, then values; Hugging Face has the three of each head together
 */
export type GgufRows = 'pairs' | 'thirds';

/** Module of a GGUF file. */
export interface GgufModule {
  /** Hugging Face path; '{n}' is the block's number. */
  readonly path: string;
  readonly rows?: GgufRows;
  /** Whether its rows belong to key heads. */
  readonly ofKeys?: boolean;
  /**
   * Whether it is a convolution's kernel with one row per channel: [rows, columns] in GGUF, [rows, 1,
   * columns] in Hugging Face files.
   */
  readonly isKernel?: true;
  /** Offset: the file's values are Hugging Face's plus this. */
  readonly shift?: number;
}

export interface GgufFormat {
  /** `general.architecture`. */
  readonly architecture: string;
  /** Modules by their names in the file; names of a block's modules start with 'blk.{n}.'. */
  readonly modules: Readonly<Record<string, GgufModule>>;
  /** Returns config.json without what all families store in the same way: tokens, vocabulary, tied head. */
  config(facts: GgufFacts): { readonly model_type: string; readonly [key: string]: unknown };
  /** If omitted, such files are read but not written. */
  readonly writes?: GgufWriting;
}

/** Value of a file's metadata, by its type. */
export type GgufField =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly f32s: readonly number[] }
  | { readonly i32s: readonly number[] };

/** Export of a family as GGUF. */
export interface GgufWriting {
  /** Values of config.json's model_type that can be exported. */
  readonly modelTypes: readonly string[];
  /**
   * Whether llama.cpp knows which layers have a sliding window. If omitted, context_length is at most the
   * window.
   */
  readonly hasWindows?: true;
  /**
   * Returns keys after `<architecture>.`, in addition to those of all families: sizes, heads, the norms'
   * epsilon, rotary options.
   * @throws DomainError for models that llama.cpp would compute differently
   */
  fields?(options: ModelOptions): Readonly<Record<string, GgufField>>;
}
