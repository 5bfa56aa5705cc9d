/**
 * Converts a LoRA for vLLM, which supports one rank and one scale for all modules and silently ignores patterns:
 *   A' = [A ; 0]  B' = [(s r / α) B  0]      with r the largest rank, s a module's scale, α the result's lora_alpha = r
 * so that (α / r) B' A' = s B A. A LoRA with equal ranks and scales stays unchanged. A: [r_i, in]  B: [out, r_i]
 */
import { cat, contiguous, mul, noGrad, tidy, zeros, type Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { loraFactors, type AdapterFile, type FactorPair } from './lora-factors.js';
import { FACTOR_WORDS } from './supported.js';

const WORDS = FACTOR_WORDS.vllm;

/** Returns new tensors in the caller's scope. @throws DomainError naming the part that vLLM does not support */
export function forVllm(source: AdapterFile): AdapterFile {
  const { options, modules } = loraFactors(source, 'model', WORDS);
  const table = [...modules].find(([, { isTable }]) => isTable);
  if (table)
    throw new DomainError(
      'unsupported',
      `model: ${table[0]} is an embedding, whose LoRA ${WORDS.lacks}; merge it instead`,
      'model',
    );
  const rank = Math.max(...[...modules.values()].map(({ a }) => a.shape[0] as number));
  const isAlike = [...modules.values()].every(
    ({ a, scale }) => a.shape[0] === rank && scale === options.lora_alpha / rank,
  );
  const tensors = new Map<string, Tensor>();
  for (const [path, pair] of modules) {
    const { a, b } = isAlike ? copied(pair) : widened(pair, rank);
    tensors.set(`${path}.lora_A`, a).set(`${path}.lora_B`, b);
  }
  const sizes = {
    r: rank,
    lora_alpha: isAlike ? options.lora_alpha : rank,
    rank_pattern: {},
    alpha_pattern: {},
  };
  const plain = { use_rslora: false, init_lora_weights: true };
  return { peft: { ...source.peft, ...sizes, ...plain }, tensors };
}

type Factors = Pick<FactorPair, 'a' | 'b'>;

const copied = ({ a, b }: FactorPair): Factors => made(() => [mul(a, 1), mul(b, 1)]);

const widened = ({ a, b, scale }: FactorPair, rank: number): Factors =>
  made(() => {
    const [own, columns] = a.shape as [number, number];
    const rows = b.shape[0] as number;
    const more = rank - own;
    return [
      cat([a, zeros([more, columns], 'f32', a.device)]),
      cat([mul(b, scale), zeros([rows, more], 'f32', b.device)], 1),
    ];
  });

function made(make: () => [Tensor, Tensor]): Factors {
  const [a, b] = noGrad(() => tidy(() => make().map((one) => contiguous(one).detach())));
  return { a: a as Tensor, b: b as Tensor };
}
