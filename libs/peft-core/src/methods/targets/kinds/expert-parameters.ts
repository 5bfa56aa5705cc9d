/** Router and expert parameters as targets: PEFT's `target_parameters`. */
import { noGrad, tidy, to } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import type { Experts } from '../../../nn/layers/experts.js';
import type { AttachContext } from '../../method.js';
import { ModuleParameters } from '../../frame/parameters.js';
import type { ParameterMethod, ParameterShape, ParameterUpdate } from '../target-parameters.js';
import { exportedBy, type TargetKind } from './target-kind.js';
import type { BaseDtype } from '../../../nn/precision.js';

export class ExpertParameterTargets implements TargetKind {
  readonly sets: ModuleParameters[] = [];
  /** Updates by parameter name. */
  readonly #updates = new Map<string, { weight: Tensor; update: ParameterUpdate }>();

  get count(): number {
    return this.#updates.size;
  }

  attach(
    found: readonly (readonly [module: Experts, targets: readonly ParameterShape[]])[],
    adapt: ReturnType<ParameterMethod<unknown>['adapt']>,
    { run, seed }: Pick<AttachContext, 'run' | 'seed'>,
  ): void {
    for (const [module, targets] of found) {
      for (const target of targets) {
        const parameters = new ModuleParameters(target.path, seed);
        this.sets.push(parameters);
        const update = adapt(target, parameters);
        const weight = module.parameters.get(target.name) as Tensor;
        this.#updates.set(target.name, { weight, update });
      }
      const open = (name: string, dtype: Dtype) =>
        this.#updates.get(name)?.update.open(dtype) ?? null;
      module.attach(run, { open });
    }
  }

  exported(): Map<string, Tensor> {
    return exportedBy(this.sets);
  }

  merged(dtype: BaseDtype): Map<string, Tensor> {
    const whole = new Map<string, Tensor>();
    for (const [name, { weight, update }] of this.#updates)
      whole.set(
        name,
        noGrad(() => tidy(() => to(update.merged(to(weight, 'f32')), dtype).detach())),
      );
    return whole;
  }
}
