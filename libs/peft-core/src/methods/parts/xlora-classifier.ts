/**
 * X-LoRA's classifier, which weighs the LoRAs for each row: linear layers with ReLU and dropout between them, in f32.
 * PEFT uses the base's dtype.
 */
import {
  call,
  counterDropout,
  div,
  full,
  linear,
  mul,
  relu,
  reshape,
  softmax,
  tidy,
  to,
  topk,
  zerosLike,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { RowContext } from '../../nn/context.js';
import type { Scaler } from '../../nn/sites/scalings.js';
import type { NamedTensors, PartKind } from '../method.js';
import { STREAMS } from './mixed-linear.js';
import type { ModuleParameters, PartShapes } from '../frame/parameters.js';

export const MOST_LAYERS = 16;

/** X-LoRA options of the classifier (xlora.ts). */
export interface ClassifierOptions {
  readonly adapters: Readonly<Record<string, string>> | null;
  readonly enable_softmax: boolean;
  readonly enable_softmax_topk: boolean;
  readonly softmax_temperature: number;
  readonly layerwise_scalings: boolean;
  readonly top_k_lora: number | null;
  readonly xlora_depth: number;
  readonly xlora_size: number;
  readonly xlora_dropout_p: number;
  readonly scaling_pass_value: number;
}

/** Returns the number of mixed LoRAs. */
export const countOf = ({ adapters }: Pick<ClassifierOptions, 'adapters'>): number =>
  Object.keys(adapters ?? {}).length;

const PART = 'internal_xlora_classifier.layers';
const RELU_AND_DROPOUT = 2;

/** Returns the shapes of the classifier's linear layers, numbered as in PEFT, which counts the modules between them. */
export function classifierShapes(
  options: ClassifierOptions,
  hiddenSize: number,
  linears: number,
): readonly (readonly [number: number, inputs: number, outputs: number])[] {
  const { xlora_depth: depth, xlora_size: size, layerwise_scalings: layerwise } = options;
  const between = options.xlora_dropout_p > 0 ? RELU_AND_DROPOUT : 1;
  const outputs = countOf(options) * (layerwise ? linears : 1);
  return Array.from({ length: depth }, (_, i) => [
    i * (1 + between),
    i === 0 ? hiddenSize : size,
    i === depth - 1 ? outputs : size,
  ]);
}

export const partsOf = (shapes: ReturnType<typeof classifierShapes>): PartShapes =>
  Object.fromEntries(
    shapes.flatMap(([number, inputs, outputs]) => [
      [`${PART}.${number}.weight`, [outputs, inputs]],
      [`${PART}.${number}.bias`, [outputs]],
    ]),
  );

export const CLASSIFIER_TENSORS: Readonly<Record<string, PartKind>> = Object.fromEntries(
  Array.from({ length: 1 + (MOST_LAYERS - 1) * (1 + RELU_AND_DROPOUT) }, (_, number) =>
    ['weight', 'bias'].map((part) => [`${PART}.${number}.${part}`, 'shared'] as const),
  ).flat(),
);

/**
 * Rejects adapter names that equal the numbers of the classifier's layers, because PEFT loses those layers when it
 * saves. @throws DomainError
 */
export function refuseLost(
  stored: NamedTensors,
  shapes: ReturnType<typeof classifierShapes>,
  adapters: number,
): void {
  const lost = shapes.find(
    ([number]) => number < adapters && !stored.has(`${PART}.${number}.weight`),
  );
  if (!lost) return;
  const message = `the adapter has no ${PART}.${lost[0]}: PEFT does not save it with X-LoRA, because an adapter has that name; save it with all of the classifier's tensors`;
  throw new DomainError('invalid_adapter', message);
}

export class Classifier implements Scaler {
  readonly #layers: readonly { readonly weight: Tensor; readonly bias: Tensor }[];
  readonly #count: number;

  constructor(
    private readonly options: ClassifierOptions,
    shapes: ReturnType<typeof classifierShapes>,
    own: ModuleParameters,
  ) {
    this.#count = countOf(options);
    this.#layers = shapes.map(([number, inputs, outputs]) => ({
      weight: own.uniform(`${PART}.${number}.weight`, [outputs, inputs], 1 / Math.sqrt(inputs)),
      bias: own.uniform(`${PART}.${number}.bias`, [outputs], 1 / Math.sqrt(inputs)),
    }));
  }

  /** [n, places, N] */
  first(rows: number): Tensor | null {
    const { scaling_pass_value: value } = this.options;
    return value === 0 ? null : this.#chosen(full([rows, this.#places, this.#count], value, 'f32'));
  }

  second(hidden: Tensor, { training, key, module }: RowContext): Tensor {
    const { options } = this;
    const { xlora_dropout_p: p, softmax_temperature: temperature } = options;
    return tidy(() => {
      const drop = (x: Tensor, i: number): Tensor =>
        training && p > 0 ? counterDropout(x, p, { ...key, site: module + i * STREAMS }) : x;
      const logits = this.#layers.reduce(
        (x, { weight, bias }, i) => linear(i === 0 ? x : drop(relu(x), i), weight, bias),
        to(hidden, 'f32'),
      );
      const apart = reshape(logits, [-1, this.#places, this.#count]);
      return this.#chosen(options.enable_softmax ? softmax(div(apart, temperature)) : apart);
    });
  }

  get #places(): number {
    const last = this.#layers.at(-1) as { readonly bias: Tensor };
    return last.bias.size / this.#count;
  }

  /** Selects the weights to use, by top_k and softmax. */
  #chosen(weights: Tensor): Tensor {
    const { top_k_lora: k, enable_softmax_topk: again } = this.options;
    const left = k === null ? weights : mul(weights, largest(weights, k));
    if (!again) return left;
    const none = call('aten::eq.Scalar', left, 0) as Tensor;
    const masked = (t: Tensor, by: number): Tensor =>
      call('aten::masked_fill.Scalar', t, none, by) as Tensor;
    return masked(softmax(masked(left, -Infinity)), 0);
  }
}

/** Returns a mask: 1 at the k largest values of the last dimension, else 0. */
const largest = (weights: Tensor, k: number): Tensor =>
  call('aten::scatter.value', zerosLike(weights), -1, topk(weights, k).indices, 1) as Tensor;
