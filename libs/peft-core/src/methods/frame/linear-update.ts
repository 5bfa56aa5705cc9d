/** What a method of linears is: what it does at one linear, and what all its targets share (linear-method.ts). */
import type { Tensor } from '@graft/kernels';
import type { Embedding } from '../../nn/layers/embedding.js';
import type { Linear, LinearAdapter, Role } from '../../nn/layers/linear.js';
import type { LinearShape } from '../../nn/outline/outline.js';
import type { Freezes } from './freezable.js';
import type { Merged } from './merged-linear.js';
import type { Held, Method, NamedTensors } from '../method.js';
import type { ModuleParameters, PartShapes } from './parameters.js';
import type { Observer } from './preparation.js';
import type { EmbeddingMethod } from '../targets/target-embedding.js';
import type { ParameterMethod } from '../targets/target-parameters.js';
import type { ALL_LINEAR, TargetFields, Targets } from '../targets/targets.js';
import type { BaseDtype } from '../../nn/precision.js';

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
