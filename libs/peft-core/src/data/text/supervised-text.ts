// Texts as token ids and targets. A token is supervised when it begins inside text that the model would write itself.
import type { EncodedText, Tokenizer } from './tokenizer.js';

/** A text, and the UTF-16 ranges of it that are learnt, in order. */
export interface SupervisedText {
  readonly text: string;
  readonly spans: readonly (readonly [from: number, to: number])[];
  /** whether the tokenizer puts its own tokens around the text */
  readonly special: boolean;
  /** whether an end-of-text token follows, supervised */
  readonly ends: boolean;
}

/** A whole text's tokens. */
export interface SupervisedTokens {
  readonly tokens: Int32Array;
  /** 1 for each token that the model would write itself */
  readonly learnt: Uint8Array;
}

/** Tokens in a row and what is wanted after each. */
export interface TokenSequence {
  /** token ids */
  readonly tokens: Int32Array;
  /** labels[i] is the token wanted after tokens[i]; -100 where unsupervised, and at the end */
  readonly labels: Int32Array;
  /** the target before the first token, for runs with virtual tokens: tokens[0] if it is supervised, else -100 */
  readonly first: number;
  /** which of its run's prompts it goes behind, where these are by task */
  readonly taskId?: number;
}

export const UNSUPERVISED = -100;

export function tokenize(
  texts: readonly SupervisedText[],
  tokenizer: Tokenizer,
): SupervisedTokens[] {
  const results = new Array<SupervisedTokens>(texts.length);
  for (const special of [false, true]) {
    const chosen = [...texts.keys()].filter((i) => texts[i]?.special === special);
    if (chosen.length === 0) continue;
    const strings = chosen.map((i) => (texts[i] as SupervisedText).text);
    for (const [j, encoded] of tokenizer
      .encodeBatch(strings, { special, starts: true })
      .entries()) {
      const i = chosen[j] as number;
      results[i] = ended(encoded, texts[i] as SupervisedText, tokenizer.eosId);
    }
  }
  return results;
}

/** With the end of text that completions and plain texts get. */
function ended(
  encoded: EncodedText,
  { spans, ends }: SupervisedText,
  eosId: number | null,
): SupervisedTokens {
  const tokens = encoded.ids;
  const learnt = supervised(encoded.starts, spans);
  if (!ends || eosId === null) return { tokens, learnt };
  // some tokenizers end every text themselves
  const hasEnd = tokens.at(-1) === eosId && encoded.starts.at(-1) === -1;
  const length = tokens.length + (hasEnd ? 0 : 1);
  return {
    tokens: Int32Array.from({ length }, (_, i) => tokens[i] ?? eosId),
    learnt: Uint8Array.from({ length }, (_, i) => (i === length - 1 ? 1 : (learnt[i] as number))),
  };
}

export function cut({ tokens: whole, learnt }: SupervisedTokens, maxSeqLen: number): TokenSequence {
  const tokens = whole.slice(0, maxSeqLen);
  const labels = new Int32Array(tokens.length).fill(UNSUPERVISED);
  for (let i = 1; i < tokens.length; i++) if (learnt[i]) labels[i - 1] = tokens[i] as number;
  return { tokens, labels, first: learnt[0] ? (tokens[0] as number) : UNSUPERVISED };
}

/** 1 for each token that begins within a span; tokens that are not of the text (-1) begin in none */
function supervised(starts: Int32Array, spans: SupervisedText['spans']): Uint8Array {
  return Uint8Array.from(starts, (start) =>
    Number(spans.some(([from, to]) => start >= from && start < to)),
  );
}

/** Targets after the first token. */
export function countLabels({ labels }: TokenSequence): number {
  let count = 0;
  for (const label of labels) if (label >= 0) count++;
  return count;
}
