/**
 * Interface of a linear method: its update of one linear layer, and the state that all targets share
 * (linear-method.ts).
 */
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

/** Lifecycle calls from the frame to an update or a shared state. */
interface Hooks {
  /** Returns a scalar that is added to the run's loss. */
  penalty?(): Tensor;
  /** Checks a file before its values are loaded. @throws DomainError invalid_adapter */
  checkFile?(file: NamedTensors): void;
  /** Called with a file's tensors after its values are loaded into the parts. */
  loaded?(file: NamedTensors): void;
  /** Called after a checkpoint is restored into the parts and the state kept with them. */
  restored?(): void;
  /** Computes in advance, if it is slow, what the first rows would otherwise compute. */
  ready?(): void;
  /** Frees everything except the parameters. */
  dispose?(): void;
}

/** Update of one linear layer by a method. */
export interface LinearUpdate extends LinearAdapter, Hooks, Freezes {
  /**
   * Returns the linear layer with the update merged. W: [out, in], b: [out], both f32; b is omitted if it does not
   * change.
   */
  merged?(weight: Tensor, bias: Tensor | null): Merged;
  /** Called after each optimizer step, counted from 1, before its gradients are cleared. */
  afterStep?(step: number): void;
  /** Returns the tensor that files store for a part, if it is not the part itself. */
  written?(part: string, tensor: Tensor): Tensor;
}

/** State, besides parameters, that the updates of a run share. */
export interface SharedState extends Hooks {
  /** Called after each optimizer step with all updates, as AdaLoRA's rank budget requires. */
  afterStep?(step: number, updates: readonly LinearUpdate[]): void;
}

type Framed = 'footprint' | 'attach' | 'attaching' | 'check' | 'prepare';

export interface LinearMethod<
  O extends TargetFields,
  S extends SharedState | undefined = undefined,
> extends Omit<Method<O>, Framed> {
  /** Returns PEFT's targets when target_modules is null; ALL_LINEAR means the same as 'all-linear' there. */
  defaultTargets(modelType: string): readonly Role[] | typeof ALL_LINEAR;
  /** Whether PEFT adapts transformers' Conv1D, a linear layer stored as [in, out]. */
  readonly conv1d: boolean;
  /** Dimensions of the convolutions that PEFT adapts. The default is none. */
  readonly convolutions?: readonly (1 | 2)[];
  /** Reason why convolutions are not supported here, if PEFT adapts them. */
  readonly noConvolutions?: string;
  /** Whether PEFT writes a long list of targets in full instead of the shortest path suffixes. */
  readonly writesAllTargets?: boolean;
  /** Rejects options that fit no model. @throws DomainError */
  check?(options: O): void;
  /**
   * Returns why adapters with these targets cannot be merged, although the method's others can be; null if they can.
   */
  unmergedIn?(options: O, targets: readonly LinearShape[]): string | null;
  /**
   * Returns the memory that the method needs. Omitted if it is small compared with the trainable parameters and with
   * one row of as many elements as ranks.
   */
  held?(targets: readonly LinearShape[], options: O): Held;
  /** Returns the shapes of the trainable parts of one linear layer's update. */
  shapes(options: O): (linear: LinearShape) => PartShapes;
  /** State that all targets share: parts, created once before the updates, and operations on all of them. */
  readonly shared?: {
    shapes(targets: readonly LinearShape[], options: O): PartShapes;
    /**
     * @param dtype in which PEFT creates parts: the base's dtype, to which it rounds, or f32 on a quantized base
     * @param `warmStart` whether a file's values are loaded next
     */
    make(
      ...of: [readonly Linear[], O, ModuleParameters, dtype: BaseDtype, warmStart: boolean] // prettier-ignore
    ): S;
  };
  /** Creates the update of one linear layer, with its parts in `parameters`. */
  adapt(
    options: O,
    found?: NamedTensors,
    warmStart?: boolean,
  ): (linear: Linear, parameters: ModuleParameters, shared: S) => LinearUpdate;
  /** Returns an observer of the training data if the initialization needs one before the updates are created. */
  observer?(targets: readonly Linear[], options: O, seed: number): Observer | null;
  /** Returns the options as changed by the observed data. @param written how PEFT writes a list of targets */
  started?(
    options: O,
    found: NamedTensors,
    targets: Targets<Linear, Embedding>,
    written: (paths: readonly string[]) => readonly string[],
  ): O;
  /** Support for the token embedding as a target. */
  readonly embedding?: EmbeddingMethod<O>;
  /** Support for expert and router parameters as targets. */
  readonly parameters?: ParameterMethod<O>;
  /** Returns the adapter_config.json fields that PEFT resolves for this method. */
  resolved?(options: O, names: RoleNames, state: S): Readonly<Record<string, unknown>>;
}

/** Returns PEFT's names of the linear layers of these roles: path suffixes that match no other module. */
export type RoleNames = (roles: readonly Role[]) => readonly string[];
