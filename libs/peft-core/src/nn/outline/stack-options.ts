/**
 * Options of a model's stacks and heads, by which model families differ, and which combinations are valid.
 */
import { z } from 'zod';
import { FrontEndOptions } from '../front-ends/registry.js';
import { fixedRopePositions, RopeOptions } from '../layers/rope.js';

const size = z.int().min(1);

/**
 * LayerNorm; RMSNorm as in LLaMA, rounded before the weight is applied; as in OLMo 2, with the weight applied
 * in f32; as in Gemma, with 1 + weight applied in f32.
 */
export const NORM_KINDS = ['layer', 'rms', 'rms_wide', 'rms_from_one'] as const;
export type NormKind = (typeof NORM_KINDS)[number];

/** Bias of attention scores by the distance between query and key. */
const BiasOptions = z.discriminatedUnion('kind', [
  /** ALiBi slopes by head, arXiv:2108.12409. */
  z.object({ kind: z.literal('alibi') }),
  /**
   * slope · position of the key. Both and their product are bf16, regardless of the base's dtype; added
   * before scores are scaled. For runs with virtual tokens only slopes are rounded, because PEFT's positions
   * are f32 then.
   */
  z.object({ kind: z.literal('alibi_bf16') }),
  /** Learned value per head and bucket of distances, arXiv:1910.10683. All layers share one table. */
  z.object({
    kind: z.literal('relative'),
    buckets: z.int().min(4),
    /** Distances from this value on share a bucket. */
    maxDistance: size,
  }),
]);

/** Mixture of experts: a router picks some experts for each row. */
const ExpertOptions = z.object({
  count: size,
  /** Number of experts per row. */
  perRow: size,
  /** Intermediate size of each expert. */
  size,
  /** Whether the weights of the selected experts are normalized to sum to 1. */
  normalized: z.boolean(),
  /** Whether weights are rounded to the base's dtype before they are applied. */
  roundsWeights: z.boolean(),
  /** Whether each layer has experts, instead of a dense part. */
  layers: z.array(z.boolean()),
});
export type ExpertOptions = z.infer<typeof ExpertOptions>;

/** Options of a stack, by which model families differ. */
export const StackOptions = z
  .object({
    hiddenSize: size,
    /** Front end that converts images or audio to rows. If omitted, inputs are tokens or embedded rows. */
    frontEnd: FrontEndOptions.optional(),
    /**
     * Width of the token table, if it differs from hiddenSize. An input projection maps it to hiddenSize.
     * With ledIn `tokens`, an output projection maps back before the head.
     */
    embeddingSize: size.optional(),
    /**
     * Input of the input projection: the tokens' embeddings alone, or the normed sum of all embeddings (of
     * any width).
     */
    projectionInput: z.enum(['tokens', 'embedded']).default('tokens'),
    intermediateSize: size,
    layers: size,
    /**
     * Block name of each layer, which replaces '{n}' in paths. Layers with the same name share parameters. By
     * default each layer has its own block, named by its number.
     */
    blocks: z.array(z.string()).optional(),
    heads: size,
    /** If fewer than heads, each serves a group of them. */
    kvHeads: size,
    /** Number of key heads of a prefix, if PEFT gives it as many as queries have. */
    prefixHeads: size.optional(),
    headDim: size,
    norm: z.enum(NORM_KINDS),
    normEps: z.number().positive(),
    /** Whether a LayerNorm has a bias. */
    normBias: z.boolean().default(true),
    /**
     * Placement of norms: on a sublayer's input (`pre`), on the residual sum (`post`), on a sublayer's output
     * (`made`), or on both input and output (`around`). All but `post` have a final norm at the end of the
     * stack.
     */
    normPlace: z.enum(['pre', 'post', 'made', 'around']).default('pre'),
    /** Whether the first block has a norm before its attention. */
    firstNorm: z.boolean().default(true),
    activation: z.enum(['silu', 'gelu', 'gelu_tanh', 'relu']),
    /** down(act(gate(n)) ⊙ up(n)) instead of down(act(up(n))) */
    gated: z.boolean(),
    /** Whether gate and up are two matrices or one concatenated matrix. */
    gateUp: z.enum(['separate', 'concatenated']).default('separate'),
    experts: ExpertOptions.optional(),
    /**
     * Layers with a gated convolution over preceding rows instead of attention:
     * out(c ⊙ (k ∗ (b ⊙ u))), [b ; c ; u] = into(n), k: `width` values for each of D.
     */
    convolutions: z.object({ width: size, layers: z.array(z.boolean()) }).optional(),
    /** Whether a row sees only the rows before it, or all rows of its sequence. */
    attention: z.enum(['causal', 'bidirectional']).default('causal'),
    /** Whether each block also attends to the encoder's rows. */
    crossAttention: z.boolean().default(false),
    /** Whether attention and feed-forward read the same rows: x + attention(n₁(x)) + feed(n₂(x)). */
    parallelResidual: z.boolean().default(false),
    /** Whether parallel attention and feed-forward share one norm: x + attention(n(x)) + feed(n(x)). */
    sharedNorm: z.boolean().default(false),
    /** Whether positions have learned embeddings. */
    learnedPositions: z.boolean().default(false),
    /** Number of rows in the position table before position 0. */
    positionOffset: z.int().min(0).default(0),
    /** Number of token types with learned embeddings. Defaults to none. */
    tokenTypes: size.optional(),
    /** Rotary position embeddings of queries and keys. */
    rope: RopeOptions.optional(),
    /** Rotary position embeddings by layer, if layers differ; null: none in this layer. */
    layerRopes: z.array(RopeOptions.nullable()).optional(),
    /** Number of rotated dimensions per head, which come first. Defaults to all. */
    rotaryDim: size.optional(),
    bias: BiasOptions.optional(),
    maxPositions: size,
    /** Default length to which examples are truncated; jobs may request more. Defaults to maxPositions. */
    defaultMaxSeqLen: size.optional(),
    /** Norm of queries and keys before rotation: of each head separately, or of the whole row. */
    qkNorm: z.enum(['head', 'whole']).optional(),
    /** Largest number of keys that a query sees, by layer; null: all. Defaults to all. */
    windows: z.array(size.nullable()).optional(),
    /** Factor of attention scores. Defaults to 1/√headDim. */
    attentionScale: z.number().positive().optional(),
    /** Limits attention scores to ± this value: cap · tanh(s / cap). */
    attentionSoftcap: z.number().positive().optional(),
    /** Whether attention scores of layer i are also divided by i + 1. */
    scaleByLayer: z.boolean().default(false),
    /** Factor of all input rows, including virtual tokens. */
    inputScale: z.number().positive().default(1),
    /** Factor of a sublayer's output before it is added to the residual. */
    residualScale: z.number().positive().default(1),
    /**
     * Whether a sublayer's output is multiplied by D parameters of its own before it is added (LayerScale).
     */
    layerScale: z.boolean().default(false),
    /** Whether the first block's input is normed. */
    embeddingNorm: z.boolean().default(false),
    /** Roles whose linear layers have a bias. */
    biases: z.array(
      z.enum(['q', 'k', 'v', 'qkv', 'o', 'gate', 'up', 'gate_up', 'down', 'projectIn']),
    ),
    /**
     * Layout of query, key and value: three matrices; one concatenated matrix; or one matrix with the
     * queries, the key and the value of each key head in turn.
     */
    qkv: z.enum(['separate', 'concatenated', 'interleaved']).default('separate'),
    /** Clamps queries, keys and values to ± this value. */
    clipQkv: z.number().positive().optional(),
    /** Whether files store linear weights as [in, out]. */
    transposed: z.boolean().default(false),
  })
  .superRefine((options, ctx) => {
    const { heads, kvHeads, prefixHeads = kvHeads, headDim, rotaryDim = headDim } = options;
    const ropes = (options.layerRopes ?? [options.rope]).filter((rope) => !!rope);
    const issue = (field: string, message: string): void =>
      ctx.addIssue({ code: 'custom', message, path: [field] });
    if (options.gateUp === 'concatenated' && !options.gated)
      issue('gateUp', 'concatenated requires gated');
    if (options.parallelResidual && options.normPlace !== 'pre')
      issue('normPlace', 'must be pre if attention and feed-forward are in parallel');
    if (options.parallelResidual && options.residualScale !== 1)
      issue('residualScale', 'is not supported with attention and feed-forward in parallel');
    if (options.parallelResidual && options.layerScale)
      issue('layerScale', 'is not supported with attention and feed-forward in parallel');
    if (!options.firstNorm && (options.normPlace !== 'pre' || options.parallelResidual))
      issue('firstNorm', 'can be false only with normPlace pre and without parallelResidual');
    if (options.sharedNorm && !options.parallelResidual)
      issue('sharedNorm', 'only attention and feed-forward in parallel can share a norm');
    if (options.experts && options.experts.perRow > options.experts.count)
      issue(
        'experts.perRow',
        `cannot pick ${options.experts.perRow} of ${options.experts.count} experts`,
      );
    if (options.frontEnd && (options.embeddingSize || options.tokenTypes))
      issue('frontEnd', 'does not support embeddingSize and tokenTypes');
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
      issue('convolutions', 'require causal attention without parallelResidual and crossAttention');
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

/**
 * Returns the largest sequence length up to which a stack's rotary frequencies do not depend on the length.
 */
export const fixedRopePositionsOf = ({ rope, layerRopes, maxPositions }: StackOptions): number =>
  Math.min(maxPositions, ...[rope, ...(layerRopes ?? [])].map((one) => one ? fixedRopePositions(one) : Infinity)); // prettier-ignore

const CtcOptions = z.object({
  /** Id of the CTC blank token. */
  blank: z.int().min(0),
  /** Whether an infinite loss counts as 0. */
  zeroInfinity: z.boolean(),
});
export type CtcOptions = z.infer<typeof CtcOptions>;

/** A model: an encoder, a decoder or both, with one token table or none. */
export const ModelOptions = z.object({
  /** 0 if it neither reads nor generates tokens. */
  vocabSize: z.int().min(0),
  /** Factor of token embeddings, rounded to the base's dtype. Not applied to virtual tokens. */
  embeddingScale: z.number().positive().default(1),
  encoder: StackOptions.nullable().default(null),
  decoder: StackOptions.nullable().default(null),
  /** Whether the lm head uses the embedding's matrix. */
  tiedHead: z.boolean().default(false),
  /** Whether the lm head is tied if the files do not contain one. */
  tiesMissingHead: z.boolean().default(false),
  /** Factor of hidden states before the lm head. */
  headScale: z.number().positive().default(1),
  /** Factor of logits. */
  logitScale: z.number().positive().default(1),
  /** Limits logits, after logitScale, to ± this value: cap · tanh(z / cap). */
  logitSoftcap: z.number().positive().optional(),
  /** Whether the files contain an lm head, if it is not tied. */
  lmHead: z.boolean().default(true),
  /** Whether the lm head has a bias. */
  lmHeadBias: z.boolean().default(false),
  /** First token of an encoder-decoder's decoder. */
  startToken: z.int().min(0).optional(),
  /** Options of an encoder whose lm head predicts a CTC token, or the blank, for each row. */
  ctc: CtcOptions.optional(),
  /** Rows that a classification head reads. Defaults to those of the family. */
  headPool: z.enum(['first', 'mean']).optional(),
  /** Number of leading rows that are not in the mean that a head reads in addition to the first row. */
  headSkips: z.int().min(1).default(1),
  /** Width of a head's hidden layer. Defaults to the width of its input. */
  headSize: size.optional(),
  /**
   * Whether a classification head reads a weighted sum of all layers, and whether the last layer's hidden states in
   * the sum are taken after the final norm (normed) or before it (as_made). If unset, the head reads the last layer.
   */
  layerSum: z.enum(['normed', 'as_made']).optional(),
  /** Whether the files contain a module that pools an image's rows into one. */
  poolingHead: z.boolean().default(false),
  /** Standard deviation of a head's initial weights. Defaults to initializer_range in config.json. */
  headDeviation: z.number().positive().optional(),
  /** Whether a head's hidden layer has a bias. */
  headBias: z.boolean().default(true),
});
export type ModelOptions = z.infer<typeof ModelOptions>;

/** Returns the options of an encoder-decoder's encoder alone. */
export const withoutDecoder = <T extends z.input<typeof ModelOptions>>(options: T): T => ({
  ...options,
  vocabSize: 0,
  decoder: null,
  tiedHead: false,
  startToken: undefined,
});
