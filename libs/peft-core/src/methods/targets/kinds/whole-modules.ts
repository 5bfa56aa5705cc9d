/**
 * Fully trained modules (`modules_to_save`) and biases. If a head and its embedding are tied and trained together, the
 * file contains their matrix under both names.
 */
import type { Tensor } from '@graft/kernels';
import type { Model } from '../../../models/model.js';
import type { Embedding } from '../../../nn/layers/embedding.js';
import type { Linear } from '../../../nn/layers/linear.js';
import type { Outline } from '../../../nn/outline/model-outline.js';
import type { LinearShape, TableShape } from '../../../nn/outline/outline.js';
import type { NamedTensors } from '../../method.js';
import {
  inDtype,
  ModulesToSave,
  ModuleSizes,
  trainBiases,
  trainModulesToSave,
} from '../modules-to-save.js';
import type { ModuleParameters } from '../../frame/parameters.js';
import type { TargetFields } from '../targets.js';
import { againOf, withAgain, withoutAgain, type Pair } from '../weight-tying.js';
import { exportedBy, type TargetKind } from './target-kind.js';
import type { BaseDtype } from '../../../nn/precision.js';

/**
 * Returns the sizes of what WholeModules would train. @param pairs heads that are trained together with their embedding
 */
export function wholeModuleSizes(
  outline: Outline,
  options: TargetFields,
  linears: readonly LinearShape[],
  pairs: readonly Pair<LinearShape, TableShape>[],
): ModuleSizes {
  const sizes = new ModuleSizes();
  trainModulesToSave(sizes, outline, options.modules_to_save ?? [], pairs);
  trainBiases(sizes, options.bias, linears, outline);
  return sizes;
}

export class WholeModules implements TargetKind {
  readonly sets: readonly ModuleParameters[];
  readonly #modules: ModulesToSave;
  /** Additional names in the file, each with the name of the tensor that it repeats. */
  readonly #again: ReadonlyMap<string, string>;

  constructor(
    run: number,
    private readonly pairs: readonly Pair<Linear, Embedding>[],
  ) {
    this.#modules = new ModulesToSave(run);
    this.sets = [this.#modules.set];
    this.#again = againOf(pairs);
  }

  get parameters(): NamedTensors {
    return this.#modules.parameters;
  }

  /** Attaches the modules. @param linears targets, whose biases are trained if `options.bias` is `<method>_only` */
  attach({ modules }: Model, options: TargetFields, linears: readonly Linear[]): void {
    trainModulesToSave(this.#modules, modules, options.modules_to_save ?? [], this.pairs);
    trainBiases(this.#modules, options.bias, linears, modules);
  }

  exported(): Map<string, Tensor> {
    return withAgain(exportedBy(this.sets), this.#again);
  }

  /** Returns a file's tensors without the repeated ones. */
  once(stored: NamedTensors): NamedTensors {
    return withoutAgain(stored, this.#again);
  }

  merged(dtype: BaseDtype): Map<string, Tensor> {
    return inDtype(this.parameters, dtype);
  }
}
