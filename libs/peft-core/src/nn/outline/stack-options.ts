/** What models differ by: the options of their stacks and heads, and which of them go together. */
import { z } from 'zod';
import { FrontEndOptions } from '../front-ends/registry.js';
import { alikePositions, RopeOptions } from '../layers/rope.js';

const size = z.int().min(1);

/**
 * LayerNorm; RMSNorm as LLaMA has it, rounded before it is scaled; as OLMo 2 has it, scaled in f32; and as Gemma has it,
 * which scales in f32 by 1 + weight.
 */
export const NORM_KINDS = ['layer', 'rms', 'rms_wide', 'rms_from_one'] as const;
export type NormKind = (typeof NORM_KINDS)[number];

/** Added to attention's scores by how far a key lies from its query. */
const BiasOptions = z.discriminatedUnion('kind', [
  /** Slopes by head, arXiv:2108.12409. */
  z.object({ kind: z.literal('alibi') }),
  /**
   * slope · place of the key, both and their product in bf16 whatever the base's dtype, added before scores are scaled.
   * Of runs with virtual tokens only slopes are rounded: PEFT makes their places f32.
   */
  z.object({ kind: z.literal('alibi_bf16') }),
  /** A learned number by head for each bucket of distances, arXiv:1910.10683; one table for all layers. */
  z.object({
    kind: z.literal('relative'),
    buckets: z.int().min(4),
    /** Distances from here on share a bucket. */
    maxDistance: size,
  }),
]);

/** Feed-forward parts of experts, of which a router picks some for each row. */
const ExpertOptions = z.object({
  count: size,
  /** How many a row has. */
  perRow: size,
  /** Of each in the middle. */
  size,
  /** Whether what is picked weighs 1 together. */
  normalized: z.boolean(),
  /** Whether weights are rounded to the base's dtype before they multiply. */
  roundsWeights: z.boolean(),
  /** By layer: whether it has them, or a dense part. */
  layers: z.array(z.boolean()),
});
export type ExpertOptions = z.infer<typeof ExpertOptions>;

/** What stacks of blocks differ by. */
export const StackOptions = z
  .object({
    hiddenSize: size,
    /** What makes its rows of pictures or sounds; left out: they are tokens, or embedded already. */
    frontEnd: FrontEndOptions.optional(),
    /** Width of the tokens' table where it is another: one linear leads in from it, one out to the head. */
    embeddingSize: size.optional(),
    /** What is led in: tokens alone, before all else; or all that is embedded and normed, whatever its width. */
    ledIn: z.enum(['tokens', 'embedded']).default('tokens'),
    intermediateSize: size,
    layers: size,
    /**
     * By layer, the name of its block, which stands for '{n}' in paths: layers of one name share its parameters. Left
     * out: each has its own, called by its number.
     */
    blocks: z.array(z.string()).optional(),
    heads: size,
    /** Fewer than heads: each serves a group of them. */
    kvHeads: size,
    /** Heads of a prefix's keys where PEFT gives it as many as queries have. */
    prefixHeads: size.optional(),
    headDim: size,
    norm: z.enum(NORM_KINDS),
    normEps: z.number().positive(),
    /** Whether a LayerNorm has a bias. */
    normBias: z.boolean().default(true),
    /**
     * What is normed: what a part reads; the residual with what it made; what it made; or both what it reads and what it
     * made. All but `post` have one norm more at the end of the stack.
     */
    normPlace: z.enum(['pre', 'post', 'made', 'around']).default('pre'),
    /** Whether the first block norms what its attention reads. */
    firstNorm: z.boolean().default(true),
    activation: z.enum(['silu', 'gelu', 'gelu_tanh', 'relu']),
    /** down(act(gate(n)) ⊙ up(n)) instead of down(act(up(n))) */
    gated: z.boolean(),
    /** Gate and up are two matrices, or one with theirs in a row. */
    gateUp: z.enum(['separate', 'concatenated']).default('separate'),
    experts: ExpertOptions.optional(),
    /**
     * Layers whose rows see those before them through a gated convolution instead of attention:
     * out(c ⊙ (k ∗ (b ⊙ u))), [b ; c ; u] = into(n), k: `width` numbers for each of D.
     */
    convolutions: z.object({ width: size, layers: z.array(z.boolean()) }).optional(),
    /** Whether a row sees those before it alone, or all of its sequence. */
    attention: z.enum(['causal', 'bidirectional']).default('causal'),
    /** Whether each block attends to the encoder's rows as well. */
    crossAttention: z.boolean().default(false),
    /** Attention and feed-forward read the same rows: x + attention(n₁(x)) + feed(n₂(x)). */
    parallelResidual: z.boolean().default(false),
    /** and one norm is for both: x + attention(n(x)) + feed(n(x)). */
    sharedNorm: z.boolean().default(false),
    /** Positions are learned embeddings. */
    learnedPositions: z.boolean().default(false),
    /** Rows of their table before that of position 0. */
    positionOffset: z.int().min(0).default(0),
    /** How many parts of a sequence have learned embeddings of their own; left out: none has. */
    tokenTypes: size.optional(),
    /** Queries and keys are rotated by their positions. */
    rope: RopeOptions.optional(),
    /** Where layers differ in it: how each rotates, or null where it does not. */
    layerRopes: z.array(RopeOptions.nullable()).optional(),
    /** How many of a head's numbers are rotated, the first ones; left out: all. */
    rotaryDim: size.optional(),
    bias: BiasOptions.optional(),
    maxPositions: size,
    /** Where examples are cut unless a job asks for more; left out: at the last position. */
    defaultMaxSeqLen: size.optional(),
    /** Queries and keys are normed before they are rotated: each head apart, or all of them as one row. */
    qkNorm: z.enum(['head', 'whole']).optional(),
    /** Keys that a query of each layer sees at most; left out: all. */
    windows: z.array(size.nullable()).optional(),
    /** What scores are multiplied by; left out: 1/√headDim. */
    attentionScale: z.number().positive().optional(),
    /** Attention scores are kept within ± this: cap · tanh(s / cap). */
    attentionSoftcap: z.number().positive().optional(),
    /** Attention scores of layer i are divided by i + 1 as well. */
    scaleByLayer: z.boolean().default(false),
    /** All rows that go in are multiplied by this, virtual tokens included. */
    inputScale: z.number().positive().default(1),
    /** What a part made is multiplied by this before it is added to the residual. */
    residualScale: z.number().positive().default(1),
    /** What a part made is multiplied by numbers of its own, one for each of D, before it is added. */
    layerScale: z.boolean().default(false),
    /** What the first block reads is normed. */
    embeddingNorm: z.boolean().default(false),
    /** Roles whose linears have a bias. */
    biases: z.array(
      z.enum(['q', 'k', 'v', 'qkv', 'o', 'gate', 'up', 'gate_up', 'down', 'projectIn']),
    ),
    /** Query, key and value are three matrices; or one with theirs in a row; or one with theirs in a row for each key head: those of its queries, its key, its value. */
    qkv: z.enum(['separate', 'concatenated', 'interleaved']).default('separate'),
    /** Queries, keys and values are cut to ± this. */
    clipQkv: z.number().positive().optional(),
    /** Linears are stored [in, out]. */
    transposed: z.boolean().default(false),
  })
  .superRefine((options, ctx) => {
    const { heads, kvHeads, prefixHeads = kvHeads, headDim, rotaryDim = headDim } = options;
    const ropes = (options.layerRopes ?? [options.rope]).filter((rope) => !!rope);
    const issue = (field: string, message: string): void =>
      ctx.addIssue({ code: 'custom', message, path: [field] });
    if (options.gateUp === 'concatenated' && !options.gated) issue('gateUp', 'there is no gate');
    if (options.parallelResidual && options.normPlace !== 'pre')
      issue('normPlace', 'attention and feed-forward in parallel have their norms before them');
    if (options.parallelResidual && options.residualScale !== 1)
      issue('residualScale', 'attention and feed-forward in parallel are added as they are');
    if (options.parallelResidual && options.layerScale)
      issue('layerScale', 'attention and feed-forward in parallel are added as they are');
    if (!options.firstNorm && (options.normPlace !== 'pre' || options.parallelResidual))
      issue('firstNorm', 'only a norm before attention alone can be left out');
    if (options.sharedNorm && !options.parallelResidual)
      issue('sharedNorm', 'only attention and feed-forward in parallel can share a norm');
    if (options.experts && options.experts.perRow > options.experts.count)
      issue(
        'experts.perRow',
        `cannot pick ${options.experts.perRow} of ${options.experts.count} experts`,
      );
    if (options.frontEnd && (options.embeddingSize || options.tokenTypes))
      issue('frontEnd', 'what is not tokens has neither their width nor their types');
    for (const list of ['layerRopes', 'windows', 'blocks'] as const)
      if (options[list] && options[list].length !== options.layers)
        issue(list, `${options.layers} layers need as many entries, got ${options[list].length}`);
    for (const rope of ropes)
      for (const factors of ['short_factor', 'long_factor'] as const)
        if (rope.rope_type === 'longrope' && rope[factors].length !== rotaryDim / 2)
          issue(
            `rope.${factors}`,
            `expected ${rotaryDim / 2} factors, got ${rope[factors].length}`,
          );
    const { convolutions, attention, parallelResidual, crossAttention } = options;
    if (convolutions && convolutions.layers.length !== options.layers)
      issue(
        'convolutions.layers',
        `${options.layers} layers need as many entries, got ${convolutions.layers.length}`,
      );
    if (convolutions && (attention !== 'causal' || parallelResidual || crossAttention))
      issue('convolutions', 'only causal decoders with one part after another can have them');
    if (heads % kvHeads !== 0)
      issue('kvHeads', `${heads} heads are not divisible by ${kvHeads} key heads`);
    if (prefixHeads !== kvHeads && prefixHeads !== heads)
      issue('prefixHeads', `must be ${kvHeads} or ${heads}, got ${prefixHeads}`);
    if (ropes.length > 0 && rotaryDim % 2 !== 0)
      issue('headDim', `rotary positions need an even number of dimensions, got ${rotaryDim}`);
    if (ropes.length > 0 && rotaryDim > headDim)
      issue('rotaryDim', `cannot rotate ${rotaryDim} dimensions of a ${headDim}-dimensional head`);
  });
export type StackOptions = z.infer<typeof StackOptions>;

/** Up to how many positions a stack's sequences are rotated alike, whatever their length. */
export const alikeIn = ({ rope, layerRopes, maxPositions }: StackOptions): number =>
  Math.min(maxPositions, ...[rope, ...(layerRopes ?? [])].map((one) => one ? alikePositions(one) : Infinity)); // prettier-ignore

const CtcOptions = z.object({
  /** The token that stands for nothing. */
  blank: z.int().min(0),
  /** Whether a loss that is infinite counts 0. */
  zeroInfinity: z.boolean(),
});
export type CtcOptions = z.infer<typeof CtcOptions>;

/** A model: an encoder, a decoder or both, on one table of tokens, or on none. */
export const ModelOptions = z.object({
  /** 0: it neither reads nor writes tokens. */
  vocabSize: z.int().min(0),
  /** Embedded tokens are multiplied by this, rounded to the base's dtype; virtual ones are not. */
  embeddingScale: z.number().positive().default(1),
  encoder: StackOptions.nullable().default(null),
  decoder: StackOptions.nullable().default(null),
  /** The lm head's matrix is the embedding's. */
  tiedHead: z.boolean().default(false),
  /** Whether it is so where the files have no lm head. */
  tiesMissingHead: z.boolean().default(false),
  /** Hidden states are multiplied by this before the lm head. */
  headScale: z.number().positive().default(1),
  /** Logits are multiplied by this, */
  logitScale: z.number().positive().default(1),
  /** and then kept within ± this: cap · tanh(z / cap). */
  logitSoftcap: z.number().positive().optional(),
  /** Whether the files have an lm head, where it is not tied. */
  lmHead: z.boolean().default(true),
  /** Whether the lm head has a bias. */
  lmHeadBias: z.boolean().default(false),
  /** The token that a decoder beside an encoder begins with. */
  startToken: z.int().min(0).optional(),
  /** Of an encoder whose lm head writes a letter for each row, or nothing. */
  ctc: CtcOptions.optional(),
  /** The rows of a sequence that its head reads, where that is not the family's. */
  headPool: z.enum(['first', 'mean']).optional(),
  /** Rows before those whose mean a head reads beside the first. */
  headSkips: z.int().min(1).default(1),
  /** Width of what rows go through before a head's output, where it is not theirs. */
  headSize: size.optional(),
  /** Where a head for labels reads a weighed sum of what all layers make: which of the last hidden states it takes. */
  layerSum: z.enum(['normed', 'as_made']).optional(),
  /** Whether its files have a part that makes one row of all of a picture's. */
  poolingHead: z.boolean().default(false),
  /** What the weights of a head are drawn with, where that is not config.json's initializer_range. */
  headDeviation: z.number().positive().optional(),
  /** Whether what rows go through before a head's output has a bias. */
  headBias: z.boolean().default(true),
});
export type ModelOptions = z.infer<typeof ModelOptions>;

/** Of an encoder and a decoder what the encoder alone is. */
export const withoutDecoder = <T extends z.input<typeof ModelOptions>>(options: T): T => ({
  ...options,
  vocabSize: 0,
  decoder: null,
  tiedHead: false,
  startToken: undefined,
});
