import type { Tensor } from '@graft/kernels';
import type { z } from 'zod';
import type { Model } from '../models/model.js';
import type { Outline } from '../nn/outline.js';

/** What a method needs besides the model and its options. */
export interface AttachContext {
  /** Id of the run whose rows the adapter acts on. */
  readonly run: number;
  /** Initial values are a function of this seed and the parameter's name. */
  readonly seed: number;
  /** Token ids of a text with the tokenizer's default special tokens: prompt_tuning_init TEXT needs it. */
  readonly tokenize?: (text: string) => readonly number[];
}

/** Tensors by name. */
export type NamedTensors = ReadonlyMap<string, Tensor>;

/** What a method has attached for one run. */
export interface Adapter {
  /** f32 leaves that train, by names that stay: checkpoints are keyed by them. Owned by the adapter. */
  readonly parameters: NamedTensors;
  /** Added to the run's loss; a scalar. */
  penalty?(): Tensor;
  /** Called after each optimiser step, counted from 1. */
  afterStep?(step: number): void;
  /**
   * What PEFT would save, by module path: `<path>.lora_A` [r, in], `<path>.lora_B` [out, r],
   * `<path>.lora_magnitude_vector` [out], `<path>.weight` and `<path>.bias` in the file's orientation, or
   * `prompt_embeddings`. New handles in the current scope, or the adapter's own: copy before the next step.
   */
  exported(): Map<string, Tensor>;
  /**
   * The inverse of `exported`, with the same names and shapes. What PEFT does not save (the encoders of P-tuning
   * and of projected prefixes) is gone: the adapter then holds the flat table.
   * @throws DomainError invalid_adapter naming what is missing, unexpected or misshapen
   */
  load(tensors: NamedTensors): void;
  /** Whole weights with the adapter in them, by Hugging Face weight name, in the base's dtype. */
  merged?(): Map<string, Tensor>;
  /** PEFT's fields as adapter_config.json has them, resolved (num_layers, token_dim, target_modules …). */
  resolvedConfig(): Record<string, unknown>;
  /** Leaves the model as it was and frees the parameters. */
  detach(): void;
}

/** What an adapter takes of a model, known before anything is loaded. */
export interface Footprint {
  /** Numbers that train. */
  readonly trainableParameters: number;
  /** Positions that virtual tokens take. */
  readonly virtualTokens: number;
}

/** A PEFT method. Its options are PEFT's own config fields. */
export interface Method<O = unknown> {
  /** PEFT's peft_type; FULL is ours, for `"peft": null`. */
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  /** arXiv address. */
  readonly paper: string | null;
  readonly defaultLearningRate: number;
  readonly options: z.ZodType<O>;
  /**
   * What a job gets for the fields that it leaves out, where PEFT's own defaults teach badly. Files keep PEFT's.
   */
  jobDefaults?(given: Readonly<Record<string, unknown>>): Partial<O>;
  /**
   * PEFT's fields that are not supported, with the value that means "not used". They may stand in a config with
   * that value, with null or empty, as PEFT writes them; anything else is refused by name.
   */
  readonly neutral: Readonly<Record<string, unknown>>;
  /** Refuses options that cannot fit a family, knowing only the names of its linears. @throws DomainError */
  check?(options: O, linears: readonly string[]): void;
  /**
   * What `attach` makes on a model of these shapes; `begun`: from an adapter's file, which may hold less than trains
   * from scratch. @throws DomainError as `attach` does where the options do not fit the model
   */
  footprint(outline: Outline, options: O, begun: boolean): Footprint;
  attach(model: Model, options: O, init: AttachContext): Adapter;
}
