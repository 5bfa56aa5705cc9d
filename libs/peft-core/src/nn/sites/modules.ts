import type { Experts } from '../layers/experts.js';
import type { Embedding } from '../layers/embedding.js';
import type { GatedPrompts } from './gated-prompts.js';
import type { Invocation } from './invocation.js';
import type { Linear, Role } from '../layers/linear.js';
import type { Norm } from '../layers/norm.js';
import { ofRoles } from '../outline/outline.js';
import type { ModuleIndex } from '../outline/outline.js';
import type { VirtualSlots } from '../layout.js';
import type { SideNetwork } from './side-network.js';
import type { Scaler } from './scalings.js';
import { Slot } from './slots.js';
import type { VirtualInputs, VirtualPrefix } from './slots.js';
import type { TaskHead } from '../layers/task-head.js';

/** Places in a stack where runs may insert their own values. */
interface RunSlots extends VirtualSlots {
  readonly invocation: Slot<Invocation>;
  readonly attention: Slot<GatedPrompts>;
  readonly side: Slot<SideNetwork>;
  readonly scaling: Slot<Scaler>;
}

export interface ModulesParts {
  readonly linears: readonly Linear[];
  readonly norms: readonly Norm[];
  readonly embeddings: readonly Embedding[];
  readonly tokenEmbedding: Embedding | null;
  /** Pairs of modules that share one tensor: head and embedding. */
  readonly tied: readonly (readonly [Linear, Embedding])[];
  readonly experts?: readonly Experts[];
  /** The encoder and the decoder, or the only one of them. */
  readonly stacks: readonly RunSlots[];
}

/** All parts of a model that a method may attach to. */
export class Modules implements ModuleIndex<Linear, Norm, Embedding, Experts> {
  readonly tokenEmbedding: Embedding | null;
  /** Virtual inputs of the stack that reads the input: the encoder, if there is one. */
  readonly inputs: Slot<VirtualInputs>;
  /** Invocation in the stack that generates the output: the decoder, if there is one. */
  readonly invocation: Slot<Invocation>;
  readonly prefix: Slot<VirtualPrefix>;
  readonly attention: Slot<GatedPrompts>;
  readonly side: Slot<SideNetwork>;
  readonly scaling: Slot<Scaler>;
  /** Number of tasks of a run's adapter, if its records and chats name their task. */
  readonly tasks: Slot<number>;
  /** Task heads of the runs that have one. */
  readonly heads: Map<number, TaskHead>;

  constructor(
    private readonly all: ModulesParts & {
      readonly heads?: Map<number, TaskHead>;
      readonly tasks?: Slot<number>;
    },
  ) {
    this.heads = all.heads ?? new Map<number, TaskHead>();
    this.tasks = all.tasks ?? new Slot<number>();
    this.tokenEmbedding = all.tokenEmbedding;
    const { stacks } = all;
    this.inputs = (stacks[0] as RunSlots).inputs;
    const last = stacks.at(-1) as RunSlots;
    ({ prefix: this.prefix, invocation: this.invocation, attention: this.attention } = last);
    this.side = last.side;
    this.scaling = last.scaling;
  }

  /** Linear layers of these roles, in the model's order; all of them by default. A fused layer stands for its parts. */
  linears(roles?: readonly Role[]): readonly Linear[] {
    return ofRoles(this.all.linears, roles);
  }

  norms(): readonly Norm[] {
    return this.all.norms;
  }

  embeddings(): readonly Embedding[] {
    return this.all.embeddings;
  }

  /** Heads that share an embedding's matrix. */
  tied(): readonly (readonly [Linear, Embedding])[] {
    return this.all.tied;
  }

  experts(): readonly Experts[] {
    return this.all.experts ?? [];
  }

  /** Returns a copy with other parts, for example with a task head. */
  with(parts: Partial<ModulesParts>): Modules {
    return new Modules({ ...this.all, ...parts, heads: this.heads, tasks: this.tasks });
  }

  /** Removes everything that is attached for a run. */
  detach(run: number): void {
    this.heads.get(run)?.dispose();
    this.heads.delete(run);
    this.tasks.detach(run);
    const { linears, norms, embeddings } = this.all;
    for (const module of [...linears, ...norms, ...embeddings, ...this.experts()])
      module.detach(run);
    for (const { inputs, prefix, invocation, attention, side, scaling } of this.all.stacks) {
      inputs.detach(run);
      prefix.detach(run);
      invocation.detach(run);
      attention.detach(run);
      side.detach(run);
      scaling.detach(run);
    }
  }
}
