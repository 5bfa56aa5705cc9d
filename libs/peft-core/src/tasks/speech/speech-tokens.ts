// Whisper's tokens beside those of a text: languages, what is to be written, times.
import { DomainError } from '@graft/contracts';
import type { Processor } from '../../data/processor.js';
import type { Tokenizer } from '../../data/text/tokenizer.js';

/** Entries of OpenAI's models that know English alone: their tokenizer has tokens of the other languages, too. */
const ENGLISH_ONLY = 51_864;

/** Null where the tokenizer has no such token. */
export function tokenId(tokenizer: Tokenizer, name: string): number | null {
  const ids = tokenizer.encode(`<|${name}|>`);
  return ids.length === 1 ? (ids[0] as number) : null;
}

/** The tokens between the start token and a text, as the tokenizer has them; or those of a language, without timestamps. */
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

/** Languages by the ids of their tokens; none where the base knows one alone. */
export function languagesOf(tokenizer: Tokenizer, vocabSize: number): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  if (vocabSize === ENGLISH_ONLY) return found;
  for (const [id, bytes] of tokenizer.bytes.entries()) {
    const [, code] = /^<\|([a-z]{2,3})\|>$/.exec(Buffer.from(bytes).toString('latin1')) ?? [];
    if (code !== undefined) found.set(id, code);
  }
  return found;
}
