/**
 * ShadowPEFT, arXiv:2604.19254: a small network runs alongside the blocks. Each block's input is shifted according to
 * its distance from the shadow's state s, and each block's output updates s.
 *   s = P backbone(x)                        x: embedded tokens; P: only if the backbone has another width
 *   h ← h + α U D dropout(h - s)             before each block
 *   s ← (1 - σ(G(h))) ⊙ s + σ(G(h)) ⊙ T(h)   after each but the last        G, T: linear, GELU, linear
 *   loss += λ CE(head(s₀))                   s₀: the initial s, directly through the base's head
 * h, s, x: [n, H]  D: [r, H]  U: [H, r]  G, T: H → u → H. All are f32; products are computed in h's dtype. The backbone
 * (shadow-backbone.ts) has its own keys and values. λ's loss is that of the next token, as in PEFT; preference training
 * does not have it, and the reported loss excludes it. G and T of the last block have no effect: files have them, and
 * they do not train.
 */
import { add, counterDropout, gelu, linear, mul, sigmoid, sub, tidy, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError, shorten } from '@graft/contracts';
import { z } from 'zod';
import type { AuxiliaryRows } from '../nn/batch.js';
import type { Model } from '../models/model.js';
import { rowContext } from '../nn/rows.js';
import type { RowContext } from '../nn/context.js';
import type { ModuleIndex } from '../nn/outline/outline.js';
import type { Role } from '../nn/layers/linear.js';
import type { SideNetwork, SidePass } from '../nn/sites/side-network.js';
import { defineMethod } from './method.js';
import { moduleNames, modulesToSave, rank } from './frame/fields.js';
import type { NamedTensors } from './method.js';
import { ModuleSizes, ModulesToSave, trainModulesToSave } from './targets/modules-to-save.js';
import { ModuleParameters, restore } from './frame/parameters.js';
import { uniform } from '../nn/random-init.js';
import { Backbone, backboneOutline, backboneSize, sharesTable } from './parts/shadow-backbone.js';
import { matcher } from './targets/targets.js';

const size = z.int().min(1).max(1_000_000).nullable().default(null);

/** PEFT's default weight λ of the auxiliary loss. */
const AUXILIARY = 0.05;

const Options = z.strictObject({
  target_modules: moduleNames
    .nullable()
    .default(null)
    .describe(
      'Adjacent transformer blocks to adapt, by name or regular expression. Default (null): all',
    ),
  exclude_modules: moduleNames
    .nullable()
    .default(null)
    .describe('Names of the modules to exclude, or a regular expression over their paths'),
  r: rank.default(8).describe('Rank of the update of a block input'),
  shadow_alpha: z.number().default(0.1).describe('Scale of that update'),
  shadow_dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0.2)
    .describe('Dropout probability of the difference between a block input and the shadow state'),
  init_weights: z
    .boolean()
    .default(true)
    .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
  shadow_num_hidden_layers: size.describe(
    'Number of layers of the shadow backbone. Default (null): 1',
  ),
  shadow_hidden_size: size.describe(
    'Hidden size of the shadow backbone. Default (null): that of the base model',
  ),
  shadow_num_attention_heads: size.describe(
    'Number of attention heads of the shadow backbone. Default (null): that of the base model',
  ),
  shadow_intermediate_size: size.describe(
    'Intermediate size of the shadow backbone. Default (null): that of the base model',
  ),
  share_embeddings: z
    .boolean()
    .default(true)
    .describe(
      'true: share the token embeddings of the base model; false, or with another hidden size: separate embeddings',
    ),
  update_hidden_size: size.describe(
    'Hidden size of the update of the shadow state. Default (null): r',
  ),
  auxiliary_loss_weight: z
    .number()
    .min(0)
    .default(AUXILIARY)
    .describe('Weight of the auxiliary next-token loss of the shadow network. 0: disabled'),
  modules_to_save: modulesToSave,
});
type Options = z.infer<typeof Options>;

const [DOWN, UP] = ['shadow_down.default', 'shadow_up.default'] as const;
const [TRANSFORM, GATE] = [
  'shadow_update_transform.default',
  'shadow_update_gate.default',
] as const;
const PROJECTION = 'shadow_projection.default';
/** Parts of a linear layer with a bias, as in files. */
const parts = (name: string) =>
  ({ [`${name}.0`]: 'module', [`${name}.0.bias`]: 'parameter', [`${name}.2`]: 'module', [`${name}.2.bias`]: 'parameter' }) as const; // prettier-ignore

const NOT_OF_BLOCKS = 'PEFT does not match blocks with it; list blocks in target_modules';

const UNSUPPORTED = { shadow_model: 'mirror', layers_to_transform: null, layers_pattern: null };

export const shadow = defineMethod<Options>({
  name: 'SHADOW',
  title: 'ShadowPEFT',
  summary:
    'A small shadow network runs alongside the transformer blocks and refines their inputs. It is also trained on the task directly.',
  paper: 'https://arxiv.org/abs/2604.19254',
  defaultLearningRate: 2e-4,
  options: Options,
  unsupported: UNSUPPORTED,
  reasons: {
    shadow_model: "the backbone is created from the base's config, not loaded from another model",
    layers_to_transform: NOT_OF_BLOCKS,
    layers_pattern: NOT_OF_BLOCKS,
  },
  trainingOnly: ['shadow_dropout', 'auxiliary_loss_weight'],
  idle({ auxiliary_loss_weight: weight }, { name, gives = [] }) {
    if (weight === 0 || weight === AUXILIARY || gives.includes('learns_beside')) return null;
    const where = `task ${name}, which does not predict the next token`;
    return { field: 'auxiliary_loss_weight', where };
  },
  unmerged: 'its effect on the base model depends on the input',
  withoutHeads: 'it is also trained through the language-model head',
  tensors: {
    [DOWN]: 'module',
    [UP]: 'module',
    ...parts(TRANSFORM),
    ...parts(GATE),
    'shadow_backbone.default': 'beside',
    [PROJECTION]: 'beside',
  },
  footprint(outline, options, { config }) {
    const small = backboneOutline(config, options);
    const blocks = targetBlocks(outline, options);
    const { hiddenSize } = outline;
    const own = new ModuleSizes();
    trainModulesToSave(own, outline, options.modules_to_save ?? []);
    const [r, u] = [options.r, widthOf(options)];
    const mover = 2 * (2 * u * hiddenSize + u + hiddenSize);
    const backbone = backboneSize(small, sharesTable(options, hiddenSize));
    const projection = small.hiddenSize === hiddenSize ? 0 : small.hiddenSize * hiddenSize;
    const trained = blocks.length * 2 * r * hiddenSize + (blocks.length - 1) * mover;
    const linears = small.linears().filter(({ role }) => role !== 'head');
    const through = linears.reduce((sum, one) => sum + one.inFeatures + one.outFeatures, 0);
    const norms = small.norms().reduce((sum, { features }) => sum + features, 0);
    return {
      trainableParameters: own.total + backbone + projection + trained,
      virtualTokens: 0,
      held: {
        // the values that its parameters were copied from
        numbers: backbone + mover,
        perRow: through + 3 * norms + blocks.length * (8 * hiddenSize + 2 * r + 6 * u),
      },
    };
  },
  attach(model, options, { run, seed }) {
    const { modules } = model;
    const blocks = targetBlocks(modules, options);
    const own = new ModulesToSave(run);
    trainModulesToSave(own, modules, options.modules_to_save ?? []);
    const backbone = new Backbone(model, run, seed, options);
    const projectionParameters = new ModuleParameters(null, seed);
    const projection = projectionOf(model, backbone, projectionParameters);
    const sets = blocks.map(({ path }) => new ModuleParameters(path, seed));
    const made = blocks.map(({ layer }, i): [number, ShadowBlock] => {
      const isLast = i === blocks.length - 1;
      const block = blockOf(sets[i] as ModuleParameters, model.hiddenSize, options, isLast);
      return [layer, block];
    });
    modules.side.attach(run, new Shadow(run, backbone, projection, new Map(made), options));
    const trained = [...sets, projectionParameters].flatMap((set) => [...set.trained]);
    const parameters = new Map([...trained, ...backbone.parameters, ...own.parameters]);
    const saved = new Map([...sets.flatMap((set) => [...set.frozen]), ...parameters]);
    return {
      parameters,
      exported: () => new Map(saved),
      load: (stored: NamedTensors) => restore(saved, stored),
      resolvedConfig: () => ({
        ...UNSUPPORTED,
        ...options,
        target_modules: options.target_modules ?? blocks.map(({ path }) => path),
      }),
      detach() {
        modules.detach(run);
        [backbone, own, projectionParameters, ...sets].forEach((each) => each.dispose());
      },
    };
  },
});

const widthOf = ({ r, update_hidden_size: width }: Options): number => width ?? r;

interface Named {
  readonly path: string;
}
interface Place extends Named {
  readonly layer: number;
}

/**
 * Blocks that target_modules selects. @throws DomainError if it selects none, other modules, or blocks that are not
 * adjacent
 */
function targetBlocks(
  modules: ModuleIndex<
    Named & { readonly role: Role; readonly layer: number | null },
    Named,
    Named
  >,
  { target_modules: targets, exclude_modules: excluded }: Options,
): readonly Place[] {
  const refuse = (message: string): never => {
    throw new DomainError('invalid_value', `target_modules: ${message}`, 'peft.target_modules');
  };
  const all = blocksIn(modules.linears());
  const isWanted = targets === null ? () => true : matcher(targets, 'peft.target_modules');
  const isExcluded = matcher(excluded ?? [], 'peft.exclude_modules');
  const isTarget = ({ path }: Named): boolean => isWanted(path) && !isExcluded(path);
  const found = all.filter(isTarget);
  const within = [...modules.linears(), ...modules.norms(), ...modules.embeddings()];
  const other = targets === null ? undefined : within.find(isTarget);
  if (other) refuse(`${other.path} is not a whole block; list blocks, such as ${all[0]?.path}`);
  if (found.length === 0)
    refuse(`no block matches ${shorten(JSON.stringify(targets), 200)}; this model's blocks are ${all[0]?.path} to ${all.at(-1)?.path}`); // prettier-ignore
  const [first, last] = [found[0] as Place, found.at(-1) as Place];
  if (last.layer - first.layer + 1 > found.length)
    refuse(`expected adjacent blocks, got ${found.map(({ layer }) => layer).join(', ')}`);
  return found;
}

function blocksIn(linears: readonly (Named & { readonly layer: number | null })[]): Place[] {
  const found = new Map<number, string>();
  for (const { path, layer } of linears) {
    const part = `.${layer}.`;
    if (layer !== null && !found.has(layer))
      found.set(layer, path.slice(0, path.indexOf(part) + part.length - 1));
  }
  return [...found].map(([layer, path]) => ({ layer, path })).sort((a, b) => a.layer - b.layer);
}

/** A linear layer with a bias. */
interface Dense {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

interface ShadowBlock {
  readonly down: Tensor;
  readonly up: Tensor;
  readonly moves: { readonly transform: readonly Dense[]; readonly gate: readonly Dense[] } | null;
}

function blockOf(
  parameters: ModuleParameters,
  hiddenSize: number,
  options: Options,
  isLast: boolean,
): ShadowBlock {
  const { r, init_weights: init } = options;
  const u = widthOf(options);
  const down = parameters.uniform(DOWN, [r, hiddenSize], 1 / Math.sqrt(hiddenSize));
  const up = init
    ? parameters.zeros(UP, [hiddenSize, r])
    : parameters.uniform(UP, [hiddenSize, r], 1 / Math.sqrt(r));
  const dense = (name: string, out: number, fanIn: number): Dense => {
    const bound = 1 / Math.sqrt(fanIn);
    const make = (part: string, shape: readonly number[]): Tensor =>
      isLast
        ? parameters.constant(part, (whole, seed) => uniform(shape, bound, seed, whole))
        : parameters.uniform(part, shape, bound);
    return { weight: make(name, [out, fanIn]), bias: make(`${name}.bias`, [out]) };
  };
  const network = (name: string): readonly Dense[] => [
    dense(`${name}.0`, u, hiddenSize),
    dense(`${name}.2`, hiddenSize, u),
  ];
  const moves = { transform: network(TRANSFORM), gate: network(GATE) };
  return { down, up, moves: isLast ? null : moves };
}

function projectionOf(
  { hiddenSize }: Model,
  { hiddenSize: width }: Backbone,
  parameters: ModuleParameters,
): Tensor | null {
  if (width === hiddenSize) return null;
  return parameters.uniform(`${PROJECTION}.weight`, [hiddenSize, width], 1 / Math.sqrt(width));
}

class Shadow implements SideNetwork {
  readonly cache: SideNetwork['cache'];

  constructor(
    private readonly run: number,
    private readonly backbone: Backbone,
    private readonly projection: Tensor | null,
    private readonly blocks: ReadonlyMap<number, ShadowBlock>,
    private readonly options: Options,
  ) {
    this.cache = backbone.cache;
  }

  open(...[rows, ctx, cache]: Parameters<SideNetwork['open']>): SidePass {
    const { auxiliary_loss_weight: weight } = this.options;
    const initial = tidy(() => {
      const hidden = this.backbone.forward(rows, ctx, cache);
      return this.projection ? linear(hidden, to(this.projection, hidden.dtype)) : hidden;
    });
    const auxiliary = weight > 0 ? { hidden: initial, weight } : null;
    const length = initial.shape[0] as number;
    const here = { ...ctx, rows: [{ run: this.run, start: 0, length }] };
    const at = (layer: number): RowContext => rowContext(here, this.run, layer);
    return new ShadowPass(this.blocks, this.options, at, initial, auxiliary);
  }
}

class ShadowPass implements SidePass {
  constructor(
    private readonly blocks: ReadonlyMap<number, ShadowBlock>,
    private readonly options: Options,
    private readonly at: (layer: number) => RowContext,
    private state: Tensor,
    readonly auxiliary: AuxiliaryRows | null,
  ) {}

  before(layer: number, h: Tensor): Tensor {
    const block = this.blocks.get(layer);
    if (!block) return h;
    const { shadow_alpha: alpha, shadow_dropout: p } = this.options;
    const { training, key, module: site } = this.at(layer);
    return tidy(() => {
      const apart = sub(h, this.state);
      const seen = training && p > 0 ? counterDropout(apart, p, { ...key, site }) : apart;
      const low = linear(seen, to(block.down, h.dtype));
      return add(h, linear(low, to(block.up, h.dtype)), alpha);
    });
  }

  after(layer: number, h: Tensor): void {
    const moves = this.blocks.get(layer)?.moves;
    if (!moves) return;
    const before = this.state;
    this.state = tidy(() => {
      const gate = sigmoid(through(moves.gate, h));
      // (1 - g) s + g t
      return add(before, mul(gate, sub(through(moves.transform, h), before)));
    });
    if (before !== this.auxiliary?.hidden) before.dispose();
  }
}

function through(layers: readonly Dense[], h: Tensor): Tensor {
  const [first, second] = layers as readonly [Dense, Dense];
  const dense = ({ weight, bias }: Dense, x: Tensor): Tensor =>
    linear(x, to(weight, x.dtype), to(bias, x.dtype));
  return dense(second, gelu(dense(first, h)));
}
