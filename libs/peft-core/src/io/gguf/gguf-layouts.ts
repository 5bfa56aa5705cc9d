// Layout of each weight in a GGUF file, as llama.cpp's llama-quantize chooses it (llama-quant.cpp).
import { GGML_BLOCKS } from '@graft/kernels';
import type { GgufQuantization } from '@graft/contracts';

const PLAIN = {
  F32: { code: 0, blockSize: 1, blockBytes: 4 },
  F16: { code: 1, blockSize: 1, blockBytes: 2 },
  BF16: { code: 30, blockSize: 1, blockBytes: 2 },
} as const;

/** Supported layouts by ggml's names: ggml's type number, elements per block and bytes per block. */
export const LAYOUTS = { ...PLAIN, ...GGML_BLOCKS };
export type LayoutName = keyof typeof LAYOUTS;

/** llama.cpp's number of a file's quantization (`general.file_type`). */
export const FILE_TYPES: Readonly<Record<GgufQuantization, number>> = {
  F32: 0,
  F16: 1,
  Q8_0: 7,
  Q4_K_M: 15,
  BF16: 32,
};

/** Input of the choice of a layout, in addition to the weight. */
export interface LayoutChoice {
  readonly quantization: GgufQuantization;
  readonly blocks: number;
  /** Whether the head has its own matrix. */
  readonly hasOutput: boolean;
  readonly is70B: boolean;
}

/** Whether the model is a LLaMA 2 or 3 of 70B (by GGUF's architecture name): 80 blocks with grouped-query attention. */
export const is70B = (
  architecture: string,
  shape: { readonly layers: number; readonly heads: number; readonly kvHeads: number },
): boolean => architecture === 'llama' && shape.layers === 80 && shape.kvHeads < shape.heads;

/** @param name of the tensor in the file; @param shape rows first */
export function layoutOf(name: string, shape: readonly number[], of: LayoutChoice): LayoutName {
  const isMatrix = shape.length > 1 && name.endsWith('.weight') && !name.includes('_norm.');
  if (!isMatrix || name === 'position_embd.weight') return 'F32';
  const { quantization } = of;
  if (quantization === 'F32' || quantization === 'F16' || quantization === 'BF16')
    return quantization;
  return fitting(
    quantization === 'Q8_0' ? headed(name, 'Q8_0', shape, of) : mixed(name, shape, of),
    shape,
  );
}

const columnsOf = (shape: readonly number[]): number => shape.at(-1) as number;

/** Layout of the head's matrix (or the tied embedding's), which is more precise than the others. */
function headed(
  name: string,
  wanted: LayoutName,
  shape: readonly number[],
  { hasOutput }: LayoutChoice,
): LayoutName {
  const isHead = name === 'output.weight' || (!hasOutput && name === 'token_embd.weight');
  if (!isHead) return wanted;
  if (columnsOf(shape) % LAYOUTS[wanted].blockSize !== 0) return 'Q8_0';
  return wanted === 'Q8_0' ? wanted : 'Q6_K';
}

/**
 * Layout for Q4_K_M: Q4_K, but Q6_K for attn_v and ffn_down of some blocks, and Q5_K if query, key and value are one
 * matrix.
 */
function mixed(name: string, shape: readonly number[], of: LayoutChoice): LayoutName {
  const [, block, part] = /^blk\.(\d+)\.(\w+)\.weight$/.exec(name) ?? [];
  const isFiner = block !== undefined && usesMoreBits(Number(block), of.blocks);
  if (part === 'attn_v') return isFiner ? 'Q6_K' : of.is70B ? 'Q5_K' : 'Q4_K';
  if (part === 'ffn_down') return isFiner ? 'Q6_K' : 'Q4_K';
  if (part === 'attn_qkv') return 'Q5_K';
  return headed(name, 'Q4_K', shape, of);
}

/** Whether a block is in the first or last eighth of the blocks, or every third in between. */
function usesMoreBits(block: number, blocks: number): boolean {
  const eighth = Math.floor(blocks / 8);
  const last = Math.floor((7 * blocks) / 8);
  return block < eighth || block >= last || (block - eighth) % 3 === 2;
}

/** Fallbacks of llama-quantize for row sizes that are not a multiple of 256, or of 32. */
const OTHERWISE: Partial<Record<LayoutName, LayoutName>> = {
  Q4_K: 'Q5_0',
  Q5_K: 'Q5_1',
  Q6_K: 'Q8_0',
};

function fitting(wanted: LayoutName, shape: readonly number[]): LayoutName {
  const fits = (name: LayoutName): boolean => columnsOf(shape) % LAYOUTS[name].blockSize === 0;
  if (fits(wanted)) return wanted;
  const other = OTHERWISE[wanted];
  return other !== undefined && fits(other) ? other : 'F16';
}
