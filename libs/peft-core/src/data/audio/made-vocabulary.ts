// A vocabulary of the characters of texts, as create_vocabulary_from_data of transformers' run_speech_recognition_ctc.py
// makes it: in the order of their code points, `|` for the space, then [UNK] and [PAD]. Native-free.
import type { VocabularyFiles } from '../processor-files.js';

const SPACE = ' ';
/** What stands between words. In a text it is read as the space. */
export const DELIMITER = '|';
const [UNKNOWN, BLANK] = ['[UNK]', '[PAD]'];

/** Without the two that a tokenizer of transformers adds by itself (`<s>`, `</s>`), which no row would ever stand for. */
const TOKENIZER_CONFIG = {
  tokenizer_class: 'Wav2Vec2CTCTokenizer',
  bos_token: null,
  eos_token: null,
  unk_token: UNKNOWN,
  pad_token: BLANK,
  word_delimiter_token: DELIMITER,
  replace_word_delimiter_char: SPACE,
  do_lower_case: false,
};

/** The letters of texts with these characters, and the space, in their order. */
export function lettersOf(characters: Iterable<string>): string[] {
  const found = new Set([...characters, SPACE]);
  found.delete(DELIMITER);
  const place = (letter: string): number => letter.codePointAt(0) as number;
  return [...found].sort((a, b) => place(a) - place(b));
}

/** Its tokens in the order of their ids. */
function tokensOf(letters: readonly string[]): string[] {
  const spelt = letters.includes(SPACE) ? letters : [...letters, SPACE];
  return [...spelt.map((letter) => (letter === SPACE ? DELIMITER : letter)), UNKNOWN, BLANK];
}

export const vocabularySize = (letters: readonly string[]): number => tokensOf(letters).length;

/** The id of the token that stands for nothing: the last. */
export const blankOf = (letters: readonly string[]): number => vocabularySize(letters) - 1;

export function vocabularyOf(letters: readonly string[]): VocabularyFiles {
  const vocabulary = Object.fromEntries(tokensOf(letters).map((token, id) => [token, id]));
  return { vocabulary, tokenizerConfig: TOKENIZER_CONFIG };
}

/** The letters of a vocabulary that was made so; null: it was not. */
export function lettersIn({ vocabulary }: VocabularyFiles): string[] | null {
  const ids = new Map(Object.entries(vocabulary).map(([token, id]) => [id, token]));
  const tokens = Array.from({ length: ids.size }, (_, id) => ids.get(id));
  const letters = tokens.slice(0, -2).map((token) => (token === DELIMITER ? SPACE : token));
  const isLetter = (one: string | undefined): one is string => one !== undefined && Array.from(one).length === 1; // prettier-ignore
  const isMade = tokens.at(-2) === UNKNOWN && tokens.at(-1) === BLANK;
  return isMade && letters.every(isLetter) ? letters : null;
}
