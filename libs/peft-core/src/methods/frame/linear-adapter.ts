/** Updates of a method on the modules of a model, attached for one run. */
import { add, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { Model } from '../../models/model.js';
import type { Embedding } from '../../nn/layers/embedding.js';
import type { Linear } from '../../nn/layers/linear.js';
import type { Pieces } from '../../interruptible-work.js';
import { freeze } from './freezable.js';
import { checkInvocation, INVOCATION_FIELD, invoke } from './invocation-tokens.js';
import { defaultRoles, parametersOf } from './linear-targets.js';
import type { LinearMethod, SharedState } from './linear-update.js';
import { updateOf } from './merged-linear.js';
import type { Adapter, AttachContext, NamedTensors, WeightUpdate } from '../method.js';
import { ModuleParameters, restore } from './parameters.js';
import { savedWeights, withoutWeights } from '../targets/target-embedding.js';
import { ExpertParameterTargets } from '../targets/kinds/expert-parameters.js';
import { LinearTargets } from '../targets/kinds/linears.js';
import type { TargetKind } from '../targets/kinds/target-kind.js';
import { checkRows, rowsOf, TokenRowTargets } from '../targets/kinds/trainable-token-indices.js';
import { TokenTableTarget } from '../targets/kinds/token-table.js';
import { WholeModules } from '../targets/kinds/whole-modules.js';
import { resolvedTargets, roleNames } from '../targets/targets.js';
import type { TargetFields, Targets } from '../targets/targets.js';
import { tableOf } from '../targets/token-rows.js';
import { partsTied } from './unmerged.js';
import type { Pair } from '../targets/weight-tying.js';
import type { BaseDtype } from '../../nn/precision.js';

interface Setup extends Pick<AttachContext, 'run' | 'seed' | 'found' | 'onModule'> {
  readonly targets: Targets<Linear, Embedding>;
  /** Heads that are trained together with their tied embedding. */
  readonly pairs: readonly Pair<Linear, Embedding>[];
  readonly warmStart: boolean;
  readonly pieces: Pieces;
}

export class LinearMethodAdapter<O extends TargetFields, S extends SharedState | undefined> {
  readonly #whole: WholeModules;
  readonly #linears: LinearTargets;
  readonly #table: TokenTableTarget | null;
  readonly #rows = new TokenRowTargets();
  readonly #experts = new ExpertParameterTargets();
  /** All targets except whole modules, in the order of their parameters. */
  readonly #updated: readonly TargetKind[];
  readonly #shared: ModuleParameters;
  #state: S | undefined;

  constructor(
    private readonly method: LinearMethod<O, S>,
    private readonly model: Model,
    private readonly options: O,
    private readonly setup: Setup,
  ) {
    const { targets, pairs, run, seed } = setup;
    this.#whole = new WholeModules(run, pairs);
    this.#linears = new LinearTargets(targets.linears, this.#whole.parameters);
    this.#table = targets.table && new TokenTableTarget(targets.table);
    this.#shared = new ModuleParameters(null, seed);
    const table = this.#table ? [this.#table] : [];
    this.#updated = [this.#linears, ...table, this.#rows, this.#experts];
  }

  /** Attaches the adapter in steps. If it fails or is ended early, nothing stays on the model. */
  *attaching(): Generator<void, Adapter, undefined> {
    let adapter: Adapter | null = null;
    try {
      yield* this.#attach();
      return (adapter = this.#adapter());
    } finally {
      if (adapter === null) this.#detach();
    }
  }

  *#attach(): Generator<void, void, undefined> {
    const { method, model, options, setup } = this;
    const { targets, found, warmStart, pieces } = setup;
    const { linears } = targets;
    const invocation = method.invocation?.(options) ?? null;
    if (invocation) {
      const [rows] = tableOf(model.modules, INVOCATION_FIELD).shape as [number];
      checkInvocation(invocation, { rows }, linears);
      invoke(model, setup.run, invocation);
    }
    // before the updates, which may act on a trainable bias
    this.#whole.attach(model, options, linears);
    const dtype = model.quantization === null ? model.dtype : 'f32';
    this.#state = method.shared?.make(linears, options, this.#shared, dtype, warmStart);
    const adapt = method.adapt(options, found, warmStart);
    const adaptOne = (linear: Linear, parameters: ModuleParameters) =>
      adapt(linear, parameters, this.#state as S);
    yield* this.#linears.attach(adaptOne, setup, pieces);
    if (method.embedding) this.#table?.attach(method.embedding, options, setup);
    const rows = rowsOf(model.modules, options, ({ shape }) => shape[0] as number);
    checkRows(rows, targets, this.#whole.parameters);
    this.#rows.attach(rows, setup);
    if (method.parameters) {
      const experts = parametersOf(method, model.modules, options);
      this.#experts.attach(experts, method.parameters.adapt(options), setup);
    }
  }

  #adapter(): Adapter {
    const { targets } = this.setup;
    const sets = this.#sets();
    const parameters = new Map(sets.flatMap(({ trained }) => [...trained]));
    const saved = new Map(sets.flatMap((set) => [...set.saved]));
    const remembered = new Map(sets.flatMap((set) => [...set.remembered]));
    const weights = (): NamedTensors => savedWeights(this.options, targets);
    const partsOf = (stored: NamedTensors): NamedTensors =>
      sets.reduce(
        (tensors, set) => set.takeBehind(tensors),
        withoutWeights(this.#whole.once(stored), weights()),
      );
    const { updates } = this.#linears;
    const hooks = this.#hooks();
    const penalties = hooks.filter(hasPenalty);
    const stepping = hooks.filter(hasAfterStep);
    const isMerging = updates.every(({ merged }) => merged);
    const isTied = partsTied(this.model.modules.tied(), targets, this.#rows.count);
    return {
      parameters,
      exported: () =>
        new Map([
          ...this.#updated.flatMap((kind) => [...kind.exported()]),
          ...this.#shared.exported(),
          ...this.#whole.exported(),
          ...weights(),
        ]),
      adapted: targets.linears.map(({ path }) => path),
      load(stored) {
        for (const each of hooks) each.checkFile?.(stored);
        tidy(() => restore(saved, partsOf(stored)));
        for (const each of hooks) each.loaded?.(stored);
      },
      freeze: () => {
        parameters.clear();
        if (this.model.dtype === 'bf16') freeze(this.#linears.targets);
      },
      resolvedConfig: () => this.#resolvedConfig(),
      detach: () => this.#detach(),
      ...(remembered.size > 0 && { state: () => remembered }),
      restored: () => hooks.forEach((each) => each.restored?.()),
      ...(hooks.some((each) => each.ready) && { ready: () => this.#ready(hooks) }),
      ...(isMerging && this.#experts.count === 0 && { updates: () => this.#updates() }),
      ...(isMerging && !isTied && { merged: () => this.#merged(this.model.dtype) }),
      ...(penalties.length > 0 && {
        penalty: () => penalties.map((each) => each.penalty()).reduce((a, b) => add(a, b)),
      }),
      ...(stepping.length > 0 && {
        afterStep: (step: number) => stepping.forEach((each) => each.afterStep(step, updates)),
      }),
    };
  }

  #sets(): ModuleParameters[] {
    return [...this.#updated.flatMap(({ sets }) => sets), this.#shared, ...this.#whole.sets];
  }

  #hooks(): readonly SharedState[] {
    const { updates } = this.#linears;
    return this.#state ? [...updates, this.#state] : updates;
  }

  *#ready(hooks: readonly SharedState[]): Generator<void, void, undefined> {
    const { pieces, onModule } = this.setup;
    for (const [i, each] of hooks.entries()) {
      each.ready?.();
      onModule?.(i + 1, hooks.length);
      yield* pieces.step();
    }
  }

  *#updates(): Iterable<WeightUpdate> {
    for (const target of this.#linears.targets) yield updateOf(target);
  }

  /** Merges whole modules first, because an update may change a trainable bias. */
  #merged(dtype: BaseDtype): Map<string, Tensor> {
    const kinds = [this.#whole, ...this.#updated];
    return new Map(kinds.flatMap((kind) => [...kind.merged(dtype)]));
  }

  #resolvedConfig(): Record<string, unknown> {
    const { method, model, options } = this;
    const { linears } = this.setup.targets;
    const targets = resolvedTargets(options, linears, model.modules, {
      defaults: defaultRoles(method, model.config.model_type),
      writesAll: method.writesAllTargets ?? false,
    });
    return {
      ...method.unsupported,
      ...options,
      target_modules: targets,
      ...('fan_in_fan_out' in options && {
        fan_in_fan_out: linears.some(({ transposed }) => transposed),
      }),
      ...method.resolved?.(options, (roles) => roleNames(roles, model.modules), this.#state as S),
    };
  }

  #detach(): void {
    this.model.modules.detach(this.setup.run);
    for (const each of this.#hooks()) each.dispose?.();
    for (const kind of this.#updated) kind.dispose?.();
    for (const set of this.#sets()) set.dispose();
  }
}

type WithPenalty = SharedState & Required<Pick<SharedState, 'penalty'>>;
const hasPenalty = (hooks: SharedState): hooks is WithPenalty => hooks.penalty !== undefined;

type WithAfterStep = SharedState & Required<Pick<SharedState, 'afterStep'>>;
const hasAfterStep = (hooks: SharedState): hooks is WithAfterStep => hooks.afterStep !== undefined;
