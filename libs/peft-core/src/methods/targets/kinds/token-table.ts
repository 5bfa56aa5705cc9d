/** The token embedding as a target. */
import { noGrad, tidy, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { Embedding } from '../../../nn/layers/embedding.js';
import type { AttachContext } from '../../method.js';
import { ModuleParameters } from '../../frame/parameters.js';
import type { EmbeddingMethod, EmbeddingUpdate } from '../target-embedding.js';
import { exportedBy, type TargetKind } from './target-kind.js';
import type { BaseDtype } from '../../../nn/precision.js';

export class TokenTableTarget implements TargetKind {
  readonly sets: ModuleParameters[] = [];
  #update: EmbeddingUpdate | null = null;

  constructor(private readonly table: Embedding) {}

  attach<O>(
    { shapes, adapt }: EmbeddingMethod<O>,
    options: O,
    { run, seed }: Pick<AttachContext, 'run' | 'seed'>,
  ): void {
    const { table } = this;
    const [rows, columns] = table.shape as [number, number];
    shapes({ path: table.path, rows, columns }, options); // throws for options that the embedding does not support
    const parameters = new ModuleParameters(table.path, seed);
    this.sets.push(parameters);
    this.#update = adapt(table, options, parameters);
    table.attach(run, this.#update);
  }

  exported(): Map<string, Tensor> {
    return exportedBy(this.sets);
  }

  merged(dtype: BaseDtype): Map<string, Tensor> {
    const { table } = this;
    const update = this.#update as EmbeddingUpdate;
    const merged = noGrad(() =>
      tidy(() => to(update.merged(to(table.weight, 'f32')), dtype).detach()),
    );
    return new Map([[`${table.path}.weight`, merged]]);
  }
}
