// The next token from logits z [V]:
//   greedy (temperature 0)  argmax z
//   else                    p = softmax(z / temperature), restricted to the smallest set of likeliest
//                           tokens whose mass reaches top_p (arXiv:1904.09751), drawn by inverse CDF
// with u = uniform(seed, position): the same seed gives the same text.
import { argmax, counterUniform, div, softmax, tidy, topk, type Tensor } from '@graft/kernels';

export interface Sampling {
  /** Sampling temperature; 0 is greedy. */
  readonly temperature: number;
  /** Probability mass in (0, 1]. */
  readonly top_p: number;
  readonly seed: number;
}

/** Separates these random numbers from dropout's. */
const SITE = 0x5a3;
const FIRST_CANDIDATES = 512;

/** @param logits one row, [V] or [1, V] @param position index of the token in the completion */
export function sample(
  logits: Tensor,
  { temperature, top_p, seed }: Sampling,
  position: number,
): number {
  if (temperature <= 0) return tidy(() => argmax(logits).item());
  return tidy(() => {
    const u = counterUniform([1], { seed, step: position, site: SITE }).item();
    const p = softmax(div(logits, temperature), -1, 'f32');
    return top_p >= 1 ? draw(p.toArray() as Float32Array, null, u) : nucleus(p, top_p, u);
  });
}

function nucleus(p: Tensor, top_p: number, u: number): number {
  const vocabulary = p.shape[p.shape.length - 1] as number;
  for (let k = Math.min(FIRST_CANDIDATES, vocabulary); ; k = Math.min(16 * k, vocabulary)) {
    const { values, indices } = topk(p, k);
    const masses = values.toArray() as Float32Array;
    let mass = 0;
    let kept = 0;
    while (kept < k && mass < top_p) mass += masses[kept++] as number;
    if (mass >= top_p || k === vocabulary) {
      return draw(masses.subarray(0, kept), indices.toArray() as BigInt64Array, u);
    }
  }
}

/** Samples by inverse CDF from weights that need not sum to one. */
function draw(weights: Float32Array, ids: BigInt64Array | null, u: number): number {
  let total = 0;
  for (const weight of weights) total += weight;
  let left = u * total;
  let at = 0;
  while (at < weights.length - 1 && (left -= weights[at] as number) >= 0) at++;
  return ids === null ? at : Number(ids[at]);
}
