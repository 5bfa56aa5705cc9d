/** Linear layers as targets: each has the method's update, attached for one run. */
import type { Tensor } from '@graft/kernels';
import type { Linear } from '../../../nn/layers/linear.js';
import type { Pieces } from '../../../interruptible-work.js';
import type { LinearUpdate } from '../../frame/linear-update.js';
import { mergedLinear } from '../../frame/merged-linear.js';
import type { AttachContext, NamedTensors } from '../../method.js';
import { ModuleParameters } from '../../frame/parameters.js';
import type { TargetKind } from './target-kind.js';
import type { BaseDtype } from '../../../nn/precision.js';

interface Target {
  readonly linear: Linear;
  readonly update: LinearUpdate;
  readonly parameters: ModuleParameters;
}

export class LinearTargets implements TargetKind {
  readonly sets: ModuleParameters[] = [];
  readonly targets: Target[] = [];

  /** @param biases base biases that the run trains, by name: they are merged instead of the base's */
  constructor(
    private readonly linears: readonly Linear[],
    private readonly biases: NamedTensors,
  ) {}

  get updates(): LinearUpdate[] {
    return this.targets.map(({ update }) => update);
  }

  /** Attaches the updates. It yields after each step, because decomposing weights is slow. */
  *attach(
    adapt: (linear: Linear, parameters: ModuleParameters) => LinearUpdate,
    { run, seed, onModule }: Pick<AttachContext, 'run' | 'seed' | 'onModule'>,
    pieces: Pieces,
  ): Generator<void, void, undefined> {
    for (const linear of this.linears) {
      const parameters = new ModuleParameters(linear.path, seed);
      this.sets.push(parameters);
      const update = adapt(linear, parameters);
      this.targets.push({ linear, update, parameters });
      linear.attach(run, update);
      onModule?.(this.targets.length, this.linears.length);
      yield* pieces.step();
    }
  }

  exported(): Map<string, Tensor> {
    return new Map(
      this.targets.flatMap(({ linear, update, parameters }) =>
        [...parameters.exported()].map(([name, tensor]): [string, Tensor] => {
          const part = name.slice(linear.path.length + 1);
          return [name, update.written?.(part, tensor) ?? tensor];
        }),
      ),
    );
  }

  merged(dtype: BaseDtype): Map<string, Tensor> {
    const whole = new Map<string, Tensor>();
    for (const { linear, update } of this.targets) {
      const bias = this.biases.get(`${linear.path}.bias`) ?? linear.bias;
      for (const [part, tensor] of mergedLinear(linear, update, bias, dtype))
        whole.set(`${linear.path}.${part}`, tensor);
    }
    return whole;
  }
}
