// ln p of an answer's tokens: log_softmax of the logits as the model computed them. Temperature, top_p and
// constraints apply later and do not affect them.
import { DomainError, type TokenLogprob } from '@graft/contracts';
import { logSoftmax, narrow, tidy, topk, type Tensor } from '@graft/kernels';

export interface IdLogprob {
  readonly id: number;
  readonly logprob: number;
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/** OpenAI's value for tokens that are too unlikely: JSON has no -∞. */
const LEAST = -9999;

/**
 * Returns a token's log probability and the most likely alternatives.
 * @param logits one row, [V] or [1, V]
 * @param count number of most likely tokens to return
 * @throws DomainError nonfinite if a logit is NaN
 */
export function idLogprob(logits: Tensor, id: number, count: number): IdLogprob {
  return tidy(() => {
    const all = logSoftmax(logits, -1, 'f32');
    const vocabulary = all.shape.at(-1) as number;
    const logprob = Math.max(LEAST, narrow(all, -1, id, 1).item());
    // One NaN makes the whole row NaN.
    if (Number.isNaN(logprob))
      throw new DomainError('nonfinite', 'the model computes NaN for the next token');
    if (count === 0) return { id, logprob, top: [] };
    const { values, indices } = topk(all, Math.min(count, vocabulary));
    const ids = indices.toArray() as BigInt64Array;
    const top = Array.from(values.toArray() as Float32Array, (value, i) => ({
      id: Number(ids[i]),
      logprob: Math.max(LEAST, value),
    }));
    return { id, logprob, top };
  });
}

/** Converts log probabilities by id to OpenAI's format. @param bytesOf returns the bytes of a token */
export function openaiLogprob(
  { id, logprob, top }: IdLogprob,
  start: number,
  bytesOf: (id: number) => Uint8Array,
): TokenLogprob {
  const one = (token: number, value: number): TokenLogprob['top'][number] => {
    const bytes = bytesOf(token);
    return { token: Buffer.from(bytes).toString('utf8'), bytes: [...bytes], logprob: value };
  };
  return { ...one(id, logprob), start, top: top.map((other) => one(other.id, other.logprob)) };
}
