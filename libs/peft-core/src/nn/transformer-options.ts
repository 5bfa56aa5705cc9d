import { z } from 'zod';
import { RopeOptions } from './rope.js';

const size = z.int().min(1);

/** What decoders differ by. */
export const TransformerOptions = z
  .object({
    vocabSize: size,
    hiddenSize: size,
    intermediateSize: size,
    layers: size,
    heads: size,
    /** Fewer than heads: each serves a group of them. */
    kvHeads: size,
    headDim: size,
    norm: z.enum(['layer', 'rms']),
    normEps: z.number().positive(),
    activation: z.enum(['silu', 'gelu', 'gelu_tanh', 'relu']),
    /** down(act(gate(n)) ⊙ up(n)) instead of down(act(up(n))) */
    gated: z.boolean(),
    /** Left out: positions are learned embeddings. */
    rope: RopeOptions.optional(),
    maxPositions: size,
    /** Query and key of each head are normed before they are rotated. */
    qkNorm: z.boolean().default(false),
    /** Keys that a query of each layer sees at most. */
    windows: z.array(size.nullable()),
    /** Attention scores of layer i are divided by i + 1 as well. */
    scaleByLayer: z.boolean().default(false),
    /** Roles whose linears have a bias. */
    biases: z.array(z.enum(['q', 'k', 'v', 'qkv', 'o', 'gate', 'up', 'down'])),
    /** Query, key and value are one matrix. */
    fusedQkv: z.boolean().default(false),
    /** Linears are stored [in, out]. */
    conv1d: z.boolean().default(false),
    /** The head's matrix is the embedding's. */
    tiedHead: z.boolean(),
  })
  .superRefine(({ heads, kvHeads, headDim, rope }, ctx) => {
    const issue = (field: string, message: string): void =>
      ctx.addIssue({ code: 'custom', message, path: [field] });
    if (heads % kvHeads !== 0)
      issue('kvHeads', `${heads} heads cannot share ${kvHeads} key heads evenly`);
    if (rope && headDim % 2 !== 0)
      issue('headDim', `rotary positions need heads of even size, not ${headDim}`);
  });
export type TransformerOptions = z.infer<typeof TransformerOptions>;

/** Module paths as transformers has them; '{n}' stands for the layer. */
export interface ModulePaths {
  readonly words: string;
  readonly positions?: string;
  readonly attentionNorm: string;
  readonly q?: string;
  readonly k?: string;
  readonly v?: string;
  readonly qkv?: string;
  readonly qNorm?: string;
  readonly kNorm?: string;
  readonly o: string;
  readonly mlpNorm: string;
  readonly gate?: string;
  readonly up: string;
  readonly down: string;
  readonly finalNorm: string;
  readonly head: string;
}

/** Last segments of the paths of linears. */
export function linearNames(paths: ModulePaths): string[] {
  const { q, k, v, qkv, o, gate, up, down, head } = paths;
  const found = [q, k, v, qkv, o, gate, up, down, head].filter((path) => path !== undefined);
  return [...new Set(found.map((path) => path.slice(path.lastIndexOf('.') + 1)))];
}
