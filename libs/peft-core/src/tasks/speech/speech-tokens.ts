// Whisper's special tokens: languages, tasks and timestamps.
import { DomainError } from '@graft/contracts';
import type { Processor } from '../../data/processor.js';
import type { Tokenizer } from '../../data/text/tokenizer.js';

/** Vocabulary size of OpenAI's English-only models, whose tokenizer also has tokens of other languages. */
const ENGLISH_ONLY = 51_864;

/** Returns the id of a special token. Null if the tokenizer does not have it. */
export function tokenId(tokenizer: Tokenizer, name: string): number | null {
  const ids = tokenizer.encode(`<|${name}|>`);
  return ids.length === 1 ? (ids[0] as number) : null;
}

/**
 * Returns the tokens between the start token and the text: the tokenizer's own ones, or those of a
 * language, without timestamps.
 */
export function prefixOf({ tokenizer, writing }: Processor, language: string | null): Int32Array {
  if (language === null) {
    const around = tokenizer.encode('', { special: true });
    const open = around.at(-1) === tokenizer.eosId ? around.slice(0, -1) : around;
    return Int32Array.from(open[0] === writing.startToken ? open.slice(1) : open);
  }
  return Int32Array.from([language, 'transcribe', 'notimestamps'], (name) => {
    const id = tokenId(tokenizer, name);
    if (id !== null) return id;
    const message = `the base's tokenizer has no token <|${name}|>; remove language, or choose a multilingual base`;
    throw new DomainError('invalid_value', message, 'graft.task_options.language');
  });
}

/** Returns the languages by token id. Empty if the base model is English-only. */
export function languagesOf(tokenizer: Tokenizer, vocabSize: number): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  if (vocabSize === ENGLISH_ONLY) return found;
  for (const [id, bytes] of tokenizer.bytes.entries()) {
    const [, code] = /^<\|([a-z]{2,3})\|>$/.exec(Buffer.from(bytes).toString('latin1')) ?? [];
    if (code !== undefined) found.set(id, code);
  }
  return found;
}
