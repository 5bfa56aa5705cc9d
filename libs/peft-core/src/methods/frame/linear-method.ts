/**
 * The frame of methods that adapt linears. A method says what it does at one linear; which linears those are,
 * modules_to_save, biases, names on disk, merged weights, the resolved config and detaching are written here, once.
 */
import { add, noGrad, tidy, to, type Dtype, type Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { Model } from '../../models/model.js';
import type { BaseDtype } from '../../nn/precision.js';
import type { Linear, LinearAdapter, Role } from '../../nn/layers/linear.js';
import type { Embedding } from '../../nn/layers/embedding.js';
import type { LinearShape, ModuleIndex, Routed, TableShape } from '../../nn/outline/outline.js';
import { atOnce, Pieces } from '../../interruptible-work.js';
import { defineMethod } from '../method.js';
import type {
  Adapter,
  AttachContext,
  Held,
  Method,
  NamedTensors,
  WeightUpdate,
} from '../method.js';
import {
  inDtype,
  ModulesToSave,
  ModuleSizes,
  trainBiases,
  trainModulesToSave,
} from '../targets/modules-to-save.js';
import { freeze, type Freezes } from './freezable.js';
import { checkInvocation, invoke } from './invocation-tokens.js';
import { mergedLinear, updateOf, type Merged } from './merged-linear.js';
import { ModuleParameters, restore, sizeOf, sizesByPart, type PartShapes } from './parameters.js';
import { refuseWeights } from '../targets/refused-weights.js';
import { savedWeights, withoutWeights } from '../targets/target-embedding.js';
import type { EmbeddingMethod, EmbeddingUpdate } from '../targets/target-embedding.js';
import { Preparation, type Observer } from './preparation.js';
import { findParameters } from '../targets/target-parameters.js';
import type { ParameterMethod, ParameterUpdate } from '../targets/target-parameters.js';
import {
  ALL_LINEAR,
  checkTargets,
  findTargets,
  resolvedTargets,
  roleNames,
  writtenTargets,
} from '../targets/targets.js';
import type { TargetFields, Targets } from '../targets/targets.js';
import { againOf, tie, withAgain, withoutAgain, type Pair } from '../targets/weight-tying.js';
import { partsTied, placesOf, unmergedBy } from './unmerged.js';
import { chosenRows, refuseTwice, tableOf, TokenRows } from '../targets/token-rows.js';
import type { ChosenRows } from '../targets/token-rows.js';

export type { Merged } from './merged-linear.js';

/** What the frame tells whoever holds more than parameters. */
interface Hooks {
  /** Added to the run's loss; a scalar. */
  penalty?(): Tensor;
  /** Looks at a file before the parts get its values. @throws DomainError invalid_adapter */
  checkFile?(file: NamedTensors): void;
  /** Called when the parts have got a file's values, which are given as they were read. */
  loaded?(file: NamedTensors): void;
  /** Called when a checkpoint's values are in the parts and in what they remember. */
  restored?(): void;
  /** Makes what its first rows would make, where that takes long. */
  ready?(): void;
  /** Frees what it made besides its parameters. */
  dispose?(): void;
}

/** What a method makes of one linear. */
export interface LinearUpdate extends LinearAdapter, Hooks, Freezes {
  /** The linear with the update in it. W: [out, in], b: [out], both f32; b is left out where it stays. */
  merged?(weight: Tensor, bias: Tensor | null): Merged;
  /** Called after each optimiser step, counted from 1, before its gradients are forgotten. */
  afterStep?(step: number): void;
  /** What files have of a part, where that is not the whole of it. */
  written?(part: string, tensor: Tensor): Tensor;
}

/** What the updates of a run have in common besides parameters. */
export interface SharedState extends Hooks {
  /** For what looks at all targets together, as AdaLoRA's budget of ranks does. */
  afterStep?(step: number, updates: readonly LinearUpdate[]): void;
}

type Framed = 'footprint' | 'attach' | 'attaching' | 'check' | 'prepare';

export interface LinearMethod<
  O extends TargetFields,
  S extends SharedState | undefined = undefined,
> extends Omit<Method<O>, Framed> {
  /** What PEFT adapts when target_modules is null; 'all-linear' is what it means as target_modules. */
  defaultTargets(modelType: string): readonly Role[] | typeof ALL_LINEAR;
  /** Whether PEFT adapts linears that are stored [in, out], transformers' Conv1D. */
  readonly conv1d: boolean;
  /** Over how many dimensions convolutions run that PEFT adapts; left out, it adapts none. */
  readonly convolutions?: readonly (1 | 2)[];
  /** Why it adapts none, where PEFT does. */
  readonly noConvolutions?: string;
  /** Whether PEFT writes a long list of targets as it is, instead of the shortest ends of their paths. */
  readonly writesAllTargets?: boolean;
  /** Refuses options that no model fits. @throws DomainError */
  check?(options: O): void;
  /** Why adapters with these targets cannot be merged, where the method's others can; null: they can. */
  unmergedIn?(options: O, targets: readonly LinearShape[]): string | null;
  /** Left out where it is little beside what trains, and beside one row of as many numbers as ranks. */
  held?(targets: readonly LinearShape[], options: O): Held;
  /** The parts of one linear's update that train. */
  shapes(options: O): (linear: LinearShape) => PartShapes;
  /** What all targets share: parts, made once before the updates, and what acts on all of them. */
  readonly shared?: {
    shapes(targets: readonly LinearShape[], options: O): PartShapes;
    /**
     * @param dtype in which PEFT makes parts: the base's, which it rounds to; f32 beside a packed one
     * @param begun whether they get a file's values next
     */
    make(
      ...of: [readonly Linear[], O, ModuleParameters, dtype: BaseDtype, begun: boolean] // prettier-ignore
    ): S;
  };
  /** The update of one linear; it makes its parts in `parameters`. */
  adapt(
    options: O,
    found?: NamedTensors,
    begun?: boolean,
  ): (linear: Linear, parameters: ModuleParameters, shared: S) => LinearUpdate;
  /** What looks at the training data before the updates are made, where a start needs them. */
  observer?(targets: readonly Linear[], options: O, seed: number): Observer | null;
  /** The options as what the data have shown makes them. @param written how PEFT writes a list of targets */
  started?(
    options: O,
    found: NamedTensors,
    targets: Targets<Linear, Embedding>,
    written: (paths: readonly string[]) => readonly string[],
  ): O;
  /** What it does at the token embedding, where that may be a target. */
  readonly embedding?: EmbeddingMethod<O>;
  /** What it does at parameters of routers and experts, where those may be targets. */
  readonly parameters?: ParameterMethod<O>;
  /** Fields of adapter_config.json that PEFT resolves for this method. */
  resolved?(options: O, names: RoleNames, state: S): Readonly<Record<string, unknown>>;
}

/** How PEFT would name the linears of these roles: by the ends of their paths that name nothing else. */
export type RoleNames = (roles: readonly Role[]) => readonly string[];

export function linearMethod<O extends TargetFields, S extends SharedState | undefined = undefined>(
  method: LinearMethod<O, S>,
): Method<O> {
  function* attaching(
    model: Model,
    asked: O,
    { run, seed, found, begun = false, pieceMs, onModule }: AttachContext,
  ): Generator<void, Adapter, undefined> {
    const given = resolvedBy(method, model.modules, asked, model.config.model_type);
    const { options: tied, pairs } = tie(model.modules, given);
    const options = found ? startedBy(method, model, tied, found) : tied;
    const targets = targetsOf(method, model.modules, options, model.config.model_type);
    refuseWeights(method, targets.linears);
    const pieces = new Pieces(pieceMs);
    const setup = { targets, pairs, run, seed, found, begun, pieces, onModule };
    return yield* new Attached(method, model, options, setup).made();
  }
  return defineMethod<O>({
    ...method,
    check(options, linears, embedding) {
      const tables = method.embedding && embedding !== null ? [embedding] : [];
      checkTargets(options, [...linears, ...tables]);
      method.check?.(options);
    },
    footprint(outline, asked, { modelType }) {
      const { options, pairs } = tie(outline, resolvedBy(method, outline, asked, modelType));
      const found = targetsOf(method, outline, options, modelType);
      const { linears: targets, table } = found;
      refuseWeights(method, targets);
      const rows = rowsOf(outline, options, (vocabulary) => vocabulary.rows);
      const invocation = method.invocation?.(options) ?? null;
      if (invocation) checkInvocation(invocation, tableOf(outline, INVOKED), targets);
      const own = new ModuleSizes();
      trainModulesToSave(own, outline, options.modules_to_save ?? [], pairs);
      trainBiases(own, options.bias, targets, outline);
      const shapes = method.shapes(options);
      const parts = [...targets.map(shapes), method.shared?.shapes(targets, options) ?? {}];
      if (table && method.embedding) parts.push(method.embedding.shapes(table, options));
      const ofParameters = method.parameters?.shapes(options);
      const experts = parametersOf(method, outline, options).flatMap(([, each]) => each);
      parts.push(...experts.map((one) => ofParameters?.(one) ?? {}));
      refuseTwice(rows, takenPaths({ linears: targets, table }, own.parameters), ROWS);
      const { columns = 0 } = outline.tokenEmbedding ?? {};
      const ofRows = rows.reduce((n, { ids }) => n + ids.length * columns, 0);
      return {
        trainableParameters: parts.reduce((n, part) => n + sizeOf(part), own.total + ofRows),
        parts: sizesByPart(parts),
        ...(experts.length > 0 && { experts: experts.map(({ name }) => name) }),
        virtualTokens: 0,
        ...(method.held && { held: method.held(targets, options) }),
        ...placesOf(found, partsTied(outline.tied(), found, rows.length)),
        ...unmergedBy(method.unmergedIn?.(options, targets)),
      };
    },
    fileShapes(outline, asked, modelType) {
      const options = resolvedBy(method, outline, asked, modelType);
      const shapes = method.shapes(options);
      const { linears } = targetsOf(method, outline, options, modelType);
      return new Map(linears.map((linear) => [linear.path, shapes(linear)]));
    },
    attaching,
    attach: (model, asked, init) => atOnce(attaching(model, asked, init)),
    ...(method.observer && {
      prepare(model: Model, asked: O, { run, seed }: Pick<AttachContext, 'run' | 'seed'>) {
        const given = resolvedBy(method, model.modules, asked, model.config.model_type);
        const { options } = tie(model.modules, given);
        const { linears } = targetsOf(method, model.modules, options, model.config.model_type);
        refuseWeights(method, linears);
        const observer = method.observer?.(linears, options, seed) ?? null;
        return observer && new Preparation(observer, model, run, linears);
      },
    }),
  });
}

function startedBy<O extends TargetFields, S extends SharedState | undefined>(
  method: LinearMethod<O, S>,
  { modules, config }: Model,
  options: O,
  found: NamedTensors,
): O {
  if (!method.started) return options;
  const targets = targetsOf(method, modules, options, config.model_type);
  const written = (paths: readonly string[]): readonly string[] =>
    writtenTargets(
      targets.linears.filter(({ path }) => paths.includes(path)),
      modules,
    );
  return method.started(options, found, targets, written);
}

/** The options of an adapter of this model, with parameters of experts and default targets as PEFT means them. */
function resolvedBy<O extends TargetFields, S extends SharedState | undefined>(
  method: LinearMethod<O, S>,
  modules: ModuleIndex<LinearShape, { readonly path: string }, TableShape> | Model['modules'],
  asked: O,
  modelType: string,
): O {
  const options = method.parameters?.resolve(modules, asked) ?? asked;
  const isDefault = options.target_modules === null;
  return isDefault && method.defaultTargets(modelType) === ALL_LINEAR
    ? { ...options, target_modules: ALL_LINEAR }
    : options;
}

function defaultRoles<O extends TargetFields, S extends SharedState | undefined>(
  { defaultTargets }: LinearMethod<O, S>,
  modelType: string,
): readonly Role[] {
  const targets = defaultTargets(modelType);
  return targets === ALL_LINEAR ? [] : targets;
}

const ROWS = 'trainable_token_indices';
const INVOKED = 'alora_invocation_tokens';

function targetsOf<
  O extends TargetFields,
  S extends SharedState | undefined,
  L extends { readonly path: string; readonly role: Role },
  E extends { readonly path: string },
>(
  method: LinearMethod<O, S>,
  modules: ModuleIndex<L, { readonly path: string }, E>,
  options: O,
  modelType: string,
): Targets<L, E> {
  const takesTable = method.embedding !== undefined;
  return findTargets(modules, options, defaultRoles(method, modelType), takesTable);
}

/** Experts and routers that are targets, with their parameters. */
const parametersOf = <O extends TargetFields, S extends SharedState | undefined, X extends Routed>(
  { parameters }: LinearMethod<O, S>,
  modules: { experts(): readonly X[] },
  { target_parameters: names }: O,
): ReturnType<typeof findParameters<X>> =>
  parameters ? findParameters(modules.experts(), names ?? []) : [];

function rowsOf<
  L extends { readonly path: string; readonly role: Role },
  E extends { readonly path: string },
>(
  modules: ModuleIndex<L, { readonly path: string }, E>,
  { trainable_token_indices: choice = null, ensure_weight_tying: together }: TargetFields,
  rowsIn: (table: E) => number,
): ChosenRows<L, E>[] {
  if (choice === null) return [];
  const chosen = chosenRows(modules, choice, rowsIn(tableOf(modules, ROWS)), ROWS);
  if (!together || chosen.length < 2 || modules.tied().length === 0) return chosen;
  const message = `ensure_weight_tying: ${ROWS} has other tokens for the embedding than for its head; give both the same`;
  throw new DomainError('invalid_value', message, `peft.${ROWS}`);
}

/** Modules that train otherwise than by their rows. */
const takenPaths = (
  { linears, table }: Targets<{ readonly path: string }, { readonly path: string }>,
  own: ReadonlyMap<string, unknown>,
): string[] => [
  ...linears.map(({ path }) => path),
  ...(table ? [table.path] : []),
  ...[...own.keys()].map((name) => name.replace(/\.weight$/, '')),
];

interface Setup {
  readonly targets: Targets<Linear, Embedding>;
  readonly pairs: readonly Pair<Linear, Embedding>[];
  readonly onModule: AttachContext['onModule'];
  readonly found: AttachContext['found'];
  readonly begun: boolean;
  readonly pieces: Pieces;
  readonly run: number;
  readonly seed: number;
}

interface Target {
  readonly linear: Linear;
  readonly update: LinearUpdate;
  readonly parameters: ModuleParameters;
}

/** A method's updates on a model, for one run. */
class Attached<O extends TargetFields, S extends SharedState | undefined> {
  /** Of the targets, in their order. */
  readonly #sets: ModuleParameters[] = [];
  readonly #shared: ModuleParameters;
  readonly #targets: Target[] = [];
  readonly #own: ModulesToSave;
  readonly #run: number;
  readonly #rows: TokenRows[] = [];
  readonly #pairs: Setup['pairs'];
  readonly #table: Embedding | null;
  #tableUpdate: EmbeddingUpdate | null = null;
  /** By the parameter's name. */
  readonly #parameters = new Map<string, { weight: Tensor; update: ParameterUpdate }>();
  #state: S | undefined;

  constructor(
    private readonly method: LinearMethod<O, S>,
    private readonly model: Model,
    private readonly options: O,
    private readonly setup: Setup,
  ) {
    const { targets, pairs, run, seed } = setup;
    this.#run = run;
    this.#pairs = pairs;
    this.#shared = new ModuleParameters(null, seed);
    this.#own = new ModulesToSave(run);
    this.#table = targets.table;
  }

  *made(): Generator<void, Adapter, undefined> {
    const { targets, seed } = this.setup;
    let adapter: Adapter | null = null;
    try {
      yield* this.#attach(targets.linears);
      this.#attachTable(seed);
      this.#attachParameters(seed);
      return (adapter = this.#adapter());
    } finally {
      // it failed, or was given up
      if (adapter === null) this.#detach();
    }
  }

  *#attach(linears: readonly Linear[]): Generator<void, void, undefined> {
    const { seed, found, begun, pieces, onModule } = this.setup;
    const { method, model, options } = this;
    const invocation = method.invocation?.(options) ?? null;
    if (invocation) {
      const [rows] = tableOf(model.modules, INVOKED).shape as [number];
      checkInvocation(invocation, { rows }, linears);
      invoke(model, this.#run, invocation);
    }
    // before the updates, which may act on a bias that trains
    trainModulesToSave(this.#own, model.modules, options.modules_to_save ?? [], this.#pairs);
    trainBiases(this.#own, options.bias, linears, model.modules);
    const dtype = model.quantization === null ? model.dtype : 'f32';
    this.#state = method.shared?.make(linears, options, this.#shared, dtype, begun);
    const adapt = method.adapt(options, found, begun);
    for (const linear of linears) {
      const parameters = new ModuleParameters(linear.path, seed);
      this.#sets.push(parameters);
      const update = adapt(linear, parameters, this.#state as S);
      this.#targets.push({ linear, update, parameters });
      linear.attach(this.#run, update);
      onModule?.(this.#targets.length, linears.length);
      yield* pieces.step();
    }
  }

  #set(path: string, seed: number): ModuleParameters {
    const parameters = new ModuleParameters(path, seed);
    this.#sets.push(parameters);
    return parameters;
  }

  #attachParameters(seed: number): void {
    const { method, model, options } = this;
    const adapt = method.parameters?.adapt(options);
    for (const [module, targets] of parametersOf(method, model.modules, options)) {
      for (const target of targets) {
        const update = adapt?.(target, this.#set(target.path, seed)) as ParameterUpdate;
        const weight = module.parameters.get(target.name) as Tensor;
        this.#parameters.set(target.name, { weight, update });
      }
      const open = (name: string, dtype: Dtype) =>
        this.#parameters.get(name)?.update.open(dtype) ?? null;
      module.attach(this.#run, { open });
    }
  }

  #attachTable(seed: number): void {
    const { method, model, options } = this;
    const table = this.#table;
    if (table && method.embedding) {
      const { shapes, adapt } = method.embedding;
      const [rows, columns] = table.shape as [number, number];
      shapes({ path: table.path, rows, columns }, options);
      this.#tableUpdate = adapt(table, options, this.#set(table.path, seed));
      table.attach(this.#run, this.#tableUpdate);
    }
    const chosen = rowsOf(model.modules, options, ({ shape }) => shape[0] as number);
    const linears = this.#targets.map(({ linear }) => linear);
    refuseTwice(chosen, takenPaths({ linears, table }, this.#own.parameters), ROWS);
    for (const one of chosen)
      this.#rows.push(new TokenRows(one, this.#run, this.#set(`${one.path}.token_adapter`, seed)));
  }

  #adapter(): Adapter {
    const sets = [...this.#sets, this.#shared];
    const parameters = new Map([
      ...sets.flatMap(({ trained }) => [...trained]),
      ...this.#own.parameters,
    ]);
    const saved = new Map([...sets.flatMap((set) => [...set.saved]), ...this.#own.parameters]);
    const linears = this.#targets.map(({ linear }) => linear);
    const weights = (): NamedTensors => savedWeights(this.options, { table: this.#table, linears });
    const again = againOf(this.#pairs);
    const exported = (): Map<string, Tensor> =>
      new Map([
        ...sets.flatMap((set) => this.#written(set)),
        ...withAgain(this.#own.parameters, again),
        ...weights(),
      ]);
    const remembered = new Map(sets.flatMap((set) => [...set.remembered]));
    const partsOf = (stored: NamedTensors): NamedTensors =>
      sets.reduce(
        (tensors, set) => set.takeBehind(tensors),
        withoutWeights(withoutAgain(stored, again), weights()),
      );
    const updates = this.#targets.map(({ update }) => update);
    const hooks = this.#hooks();
    const penalties = hooks.filter(hasPenalty);
    const stepping = hooks.filter(hasAfterStep);
    const mergeable =
      updates.every(({ merged }) => merged) &&
      !partsTied(this.model.modules.tied(), { linears, table: this.#table }, this.#rows.length);
    return {
      parameters,
      exported,
      adapted: linears.map(({ path }) => path),
      load(stored) {
        for (const each of hooks) each.checkFile?.(stored);
        tidy(() => restore(saved, partsOf(stored)));
        for (const each of hooks) each.loaded?.(stored);
      },
      freeze: () => {
        parameters.clear();
        if (this.model.dtype === 'bf16') freeze(this.#targets);
      },
      resolvedConfig: () => this.#resolvedConfig(),
      detach: () => this.#detach(),
      ...(remembered.size > 0 && { state: () => remembered }),
      restored: () => hooks.forEach((each) => each.restored?.()),
      ...(hooks.some((each) => each.ready) && { ready: () => this.#ready(hooks) }),
      ...(updates.every(({ merged }) => merged) &&
        this.#parameters.size === 0 && {
          updates: () => this.#updates(),
        }),
      ...(mergeable && { merged: () => this.#merged(this.model.dtype) }),
      ...(penalties.length > 0 && {
        penalty: () => penalties.map((each) => each.penalty()).reduce((a, b) => add(a, b)),
      }),
      ...(stepping.length > 0 && {
        afterStep: (step: number) => stepping.forEach((each) => each.afterStep(step, updates)),
      }),
    };
  }

  *#ready(hooks: readonly SharedState[]): Generator<void, void, undefined> {
    const { pieces, onModule } = this.setup;
    for (const [i, each] of hooks.entries()) {
      each.ready?.();
      onModule?.(i + 1, hooks.length);
      yield* pieces.step();
    }
  }

  /** What files have of a set's parts. */
  #written(set: ModuleParameters): [string, Tensor][] {
    const target = this.#targets.find(({ parameters }) => parameters === set);
    const part = (name: string): string => name.slice((target as Target).linear.path.length + 1);
    return [...set.exported()].map(([name, tensor]) => [
      name,
      target?.update.written?.(part(name), tensor) ?? tensor,
    ]);
  }

  #hooks(): readonly SharedState[] {
    const updates = this.#targets.map(({ update }) => update);
    return this.#state ? [...updates, this.#state] : updates;
  }

  #merged(dtype: BaseDtype): Map<string, Tensor> {
    const whole = inDtype(this.#own.parameters, dtype);
    const [table, update] = [this.#table, this.#tableUpdate];
    if (table && update) {
      const merged = noGrad(() =>
        tidy(() => to(update.merged(to(table.weight, 'f32')), dtype).detach()),
      );
      whole.set(`${table.path}.weight`, merged);
    }
    for (const rows of this.#rows) whole.set(...rows.merged());
    for (const [name, { weight, update }] of this.#parameters)
      whole.set(
        name,
        noGrad(() => tidy(() => to(update.merged(to(weight, 'f32')), dtype).detach())),
      );
    for (const { linear, update } of this.#targets) {
      const own = this.#own.parameters.get(`${linear.path}.bias`);
      const bias = own ?? linear.bias;
      for (const [part, tensor] of mergedLinear(linear, update, bias, dtype))
        whole.set(`${linear.path}.${part}`, tensor);
    }
    return whole;
  }

  *#updates(): Iterable<WeightUpdate> {
    for (const target of this.#targets) yield updateOf(target);
  }

  #resolvedConfig(): Record<string, unknown> {
    const { method, model, options } = this;
    const modelType = model.config.model_type;
    const linears = this.#targets.map(({ linear }) => linear);
    const targets = resolvedTargets(options, linears, model.modules, {
      defaults: defaultRoles(method, modelType),
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
    this.model.modules.detach(this.#run);
    for (const each of this.#hooks()) each.dispose?.();
    for (const rows of this.#rows) rows.dispose();
    for (const parameters of [...this.#sets, this.#shared]) parameters.dispose();
    this.#own.dispose();
  }
}

type WithPenalty = SharedState & Required<Pick<SharedState, 'penalty'>>;
const hasPenalty = (hooks: SharedState): hooks is WithPenalty => hooks.penalty !== undefined;

type WithAfterStep = SharedState & Required<Pick<SharedState, 'afterStep'>>;
const hasAfterStep = (hooks: SharedState): hooks is WithAfterStep => hooks.afterStep !== undefined;
