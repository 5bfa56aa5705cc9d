// Texts as token ids and labels. A token is supervised if it starts inside text that the model would
// generate.
import type { EncodedText, Tokenizer } from './tokenizer.js';

/** A text with the UTF-16 ranges that are targets, in order. */
export interface SupervisedText {
  readonly text: string;
  readonly spans: readonly (readonly [from: number, to: number])[];
  /** Whether the tokenizer adds its special tokens around the text. */
  readonly special: boolean;
  /** Whether a supervised end-of-text token follows. */
  readonly ends: boolean;
}

/** Tokens of a whole text. */
export interface SupervisedTokens {
  readonly tokens: Int32Array;
  /** 1 for each supervised token. */
  readonly targetMask: Uint8Array;
}

/** A token sequence with its labels. */
export interface TokenSequence {
  /** Token ids. */
  readonly tokens: Int32Array;
  /** labels[i] is the target after tokens[i]; -100 where unsupervised, and at the end. */
  readonly labels: Int32Array;
  /**
   * Target before the first token, for runs with virtual tokens: tokens[0] if it is supervised, else -100.
   */
  readonly first: number;
  /** Task whose prompt precedes it, for prompts by task. */
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

/** Appends the end-of-text token that completions and plain texts have. */
function ended(
  encoded: EncodedText,
  { spans, ends }: SupervisedText,
  eosId: number | null,
): SupervisedTokens {
  const tokens = encoded.ids;
  const targetMask = supervised(encoded.starts, spans);
  if (!ends || eosId === null) return { tokens, targetMask };
  // some tokenizers append it themselves
  const hasEnd = tokens.at(-1) === eosId && encoded.starts.at(-1) === -1;
  const length = tokens.length + (hasEnd ? 0 : 1);
  return {
    tokens: Int32Array.from({ length }, (_, i) => tokens[i] ?? eosId),
    targetMask: Uint8Array.from({ length }, (_, i) =>
      i === length - 1 ? 1 : (targetMask[i] as number),
    ),
  };
}

export function cut(
  { tokens: whole, targetMask }: SupervisedTokens,
  maxSeqLen: number,
): TokenSequence {
  const tokens = whole.slice(0, maxSeqLen);
  const labels = new Int32Array(tokens.length).fill(UNSUPERVISED);
  for (let i = 1; i < tokens.length; i++) if (targetMask[i]) labels[i - 1] = tokens[i] as number;
  return { tokens, labels, first: targetMask[0] ? (tokens[0] as number) : UNSUPERVISED };
}

/** Returns 1 for each token that starts within a span; special tokens (-1) start in none. */
function supervised(starts: Int32Array, spans: SupervisedText['spans']): Uint8Array {
  return Uint8Array.from(starts, (start) =>
    Number(spans.some(([from, to]) => start >= from && start < to)),
  );
}

/** Number of targets after the first token. */
export function countLabels({ labels }: TokenSequence): number {
  let count = 0;
  for (const label of labels) if (label >= 0) count++;
  return count;
}
