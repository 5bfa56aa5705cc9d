/** Modules that a run trains fully, and biases: copies of the base's parameters that affect the run's rows only. */
import { contiguous, noGrad, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { Experts, ExpertsShape } from '../../nn/layers/experts.js';
import { tableName } from '../../nn/outline/outline.js';
import type {
  LinearShape,
  ModuleIndex,
  NormShape,
  Routed,
  TableShape,
} from '../../nn/outline/outline.js';
import type { Embedding } from '../../nn/layers/embedding.js';
import { asMatrix, asStored } from '../../nn/layers/linear.js';
import type { Linear, Role } from '../../nn/layers/linear.js';
import type { Norm } from '../../nn/layers/norm.js';
import { ModuleParameters } from '../frame/parameters.js';

interface Named {
  readonly path: string;
}
interface NamedLinear extends Named {
  readonly role: Role;
}
interface NamedTable extends Named {
  readonly parameter?: readonly number[] | undefined;
}

/**
 * Makes modules of a model fully trainable, or counts their parameters. W: result of an embedding that a tied head
 * uses.
 */
export interface TrainsModules<L extends NamedLinear, N extends Named, E extends NamedTable, W> {
  readonly parameters: ReadonlyMap<string, unknown>;
  trainLinear(module: L, tied?: W): void;
  trainNorm(module: N): void;
  trainEmbedding(module: E): W;
  /** Trains the bias of a linear layer whose weight stays frozen. No effect if it has no bias or is fully trained. */
  trainBias(module: L): void;
  trainNormBias(module: N): void;
}

export class ModulesToSave implements TrainsModules<Linear, Norm, Embedding, Tensor> {
  /** Initial values come from the base, so the seed is unused. */
  readonly set = new ModuleParameters(null, 0);

  constructor(private readonly run: number) {}

  /** Parameters `<path>.weight` and `<path>.bias`, in the orientation of the model's files. */
  get parameters(): ReadonlyMap<string, Tensor> {
    return this.set.trained;
  }

  trainLinear(module: Linear, tied?: Tensor): void {
    const weight = tied ?? this.#parameter(`${module.path}.weight`, () => stored(module));
    const bias = module.bias;
    const own = bias && this.#parameter(`${module.path}.bias`, () => bias);
    module.attach(this.run, {
      weight: (_, dtype) => asMatrix(module, to(weight, dtype)),
      ...(own && { bias: () => own }),
    });
  }

  trainNorm(module: Norm): void {
    const bias = module.bias;
    module.attach(this.run, {
      weight: this.#parameter(`${module.path}.weight`, () => module.weight),
      ...(bias && { bias: this.#parameter(`${module.path}.bias`, () => bias) }),
    });
  }

  trainEmbedding(module: Embedding): Tensor {
    const weight = this.#parameter(module.name, () => module.weight);
    module.attach(this.run, { weight });
    return weight;
  }

  trainExperts(module: Experts): void {
    const own = [...module.parameters].map(
      ([name, frozen]) => [name, this.#parameter(name, () => frozen)] as const,
    );
    module.attach(this.run, { parameters: new Map(own) });
  }

  trainBias(module: Linear): void {
    const name = `${module.path}.bias`;
    const base = module.bias;
    if (!base || this.parameters.has(name)) return;
    const own = this.#parameter(name, () => base);
    module.attach(this.run, { bias: () => own });
  }

  trainNormBias(module: Norm): void {
    const name = `${module.path}.bias`;
    const base = module.bias;
    if (!base || this.parameters.has(name)) return;
    module.attach(this.run, { bias: this.#parameter(name, () => base) });
  }

  dispose(): void {
    this.set.dispose();
  }

  #parameter(name: string, values: () => Tensor): Tensor {
    return this.set.parameter(name, values);
  }
}

/** Counts the parameters that ModulesToSave would create for modules of these shapes. */
export class ModuleSizes implements TrainsModules<LinearShape, NormShape, TableShape, true> {
  readonly parameters = new Map<string, number>();

  trainLinear(shape: LinearShape, tied?: true): void {
    if (!tied) this.parameters.set(`${shape.path}.weight`, shape.inFeatures * shape.outFeatures);
    this.trainBias(shape);
  }

  trainNorm(shape: NormShape): void {
    this.parameters.set(`${shape.path}.weight`, shape.features);
    this.trainNormBias(shape);
  }

  trainEmbedding(shape: TableShape): true {
    this.parameters.set(tableName(shape), shape.rows * shape.columns);
    return true;
  }

  trainExperts({ shapes }: ExpertsShape): void {
    for (const [name, shape] of shapes)
      this.parameters.set(
        name,
        shape.reduce((product, n) => product * n, 1),
      );
  }

  trainBias({ path, outFeatures, hasBias }: LinearShape): void {
    if (hasBias) this.parameters.set(`${path}.bias`, outFeatures);
  }

  trainNormBias({ path, features, hasBias }: NormShape): void {
    if (hasBias) this.parameters.set(`${path}.bias`, features);
  }

  get total(): number {
    return [...this.parameters.values()].reduce((sum, size) => sum + size, 0);
  }
}

/** Returns the weight of a linear layer as stored in files. */
export function stored(module: Linear): Tensor {
  return contiguous(asStored(module, module.weight.dense()));
}

/**
 * Applies PEFT's modules_to_save: every module whose path ends with a name, regardless of dots, so "norm" also matches
 * "input_layernorm".
 * @param pairs heads that are trained together with their embedding
 * @throws DomainError for a name that matches nothing
 */
export function trainModulesToSave<L extends NamedLinear, N extends Named, E extends NamedTable, W>(
  own: TrainsModules<L, N, E, W>,
  modules: ModuleIndex<L, N, E>,
  names: readonly string[],
  pairs: readonly (readonly [head: L, embedding: E])[] = [],
): void {
  const embedded = new Map<E, W>();
  for (const name of new Set(names)) {
    const isSaved = ({ path }: Named): boolean => {
      const parts = path.split('.');
      return parts.some((_, i) =>
        parts
          .slice(0, i + 1)
          .join('.')
          .endsWith(name),
      );
    };
    const fresh = <S extends Named>(list: readonly S[]): S[] =>
      list.filter((module) => isSaved(module) && !own.parameters.has(`${module.path}.weight`));
    const [linears, norms, embeddings] = [modules.linears(), modules.norms(), modules.embeddings()];
    const bare = embeddings.find((one) => one.parameter && isSaved(one));
    if (bare) {
      const message = `modules_to_save: "${name}" matches a module that contains ${bare.path}, which can be trained only with the whole model; list modules within it`;
      throw new DomainError('unsupported', message, 'peft.modules_to_save');
    }
    if (![...linears, ...norms, ...embeddings].some(isSaved)) {
      const routed = modules.experts().flatMap(({ shapes }) => [...shapes.keys()]);
      if (routed.some((tensor) => isSaved({ path: tensor }))) {
        const message = `modules_to_save: "${name}" matches experts or their router, which can be trained only with the whole model`;
        throw new DomainError('unsupported', message, 'peft.modules_to_save');
      }
      const message = `modules_to_save: no module path ends with "${name}"`;
      throw new DomainError('invalid_value', message, 'peft.modules_to_save');
    }
    fresh(linears).forEach((module) => own.trainLinear(module));
    fresh(norms).forEach((module) => own.trainNorm(module));
    fresh(embeddings).forEach((module) => embedded.set(module, own.trainEmbedding(module)));
  }
  for (const [head, embedding] of pairs) own.trainLinear(head, embedded.get(embedding));
}

/** Trains the biases that PEFT's field `bias` selects: none, all, or those of targets (`<method>_only`). */
export function trainBiases<L extends NamedLinear, N extends Named>(
  own: Pick<TrainsModules<L, N, never, never>, 'trainBias' | 'trainNormBias'>,
  bias: string | undefined,
  targets: readonly L[],
  modules: Pick<ModuleIndex<L, N, never>, 'linears' | 'norms'>,
): void {
  if (bias === undefined || bias === 'none') return;
  const all = bias === 'all';
  for (const module of all ? modules.linears() : targets) own.trainBias(module);
  if (all) modules.norms().forEach((module) => own.trainNormBias(module));
}

/** Trains all parameters of a model; tied ones once, under the embedding's name. */
export function trainAll<
  L extends NamedLinear,
  N extends Named,
  E extends NamedTable,
  W,
  X extends Routed,
>(
  own: TrainsModules<L, N, E, W> & { trainExperts(module: X): void },
  modules: ModuleIndex<L, N, E, X>,
): void {
  const embedded = new Map(
    modules.embeddings().map((module) => [module, own.trainEmbedding(module)]),
  );
  const tied = new Map(modules.tied().map(([head, embedding]) => [head, embedded.get(embedding)]));
  for (const module of modules.linears()) own.trainLinear(module, tied.get(module));
  for (const module of modules.norms()) own.trainNorm(module);
  for (const module of modules.experts()) own.trainExperts(module);
}

/** Returns the number of parameters of a whole model; tied ones count once. */
export function wholeModel(
  outline: ModuleIndex<LinearShape, NormShape, TableShape, ExpertsShape>,
): number {
  const sizes = new ModuleSizes();
  trainAll(sizes, outline);
  return sizes.total;
}

/** Returns copies in the base's dtype, outside autograd. */
export function inDtype(
  parameters: ReadonlyMap<string, Tensor>,
  dtype: 'bf16' | 'f32',
): Map<string, Tensor> {
  return noGrad(
    () =>
      new Map([...parameters].map(([name, parameter]) => [name, to(parameter, dtype).detach()])),
  );
}
