// Creates a vocabulary from the characters of texts, like create_vocabulary_from_data of transformers'
// run_speech_recognition_ctc.py: in the order of their code points, `|` for the space, then [UNK] and [PAD].
// Loads no native code.
import type { VocabularyFiles } from '../processor-files.js';

const SPACE = ' ';
/** Word delimiter. In a text it is read as a space. */
export const DELIMITER = '|';
const [UNKNOWN, BLANK] = ['[UNK]', '[PAD]'];

/**
 * Omits the two tokens that transformers' tokenizer adds by itself (`<s>`, `</s>`), which no output row
 * stands for.
 */
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

/** Returns the distinct characters and the space, in order. */
export function charactersOf(characters: Iterable<string>): string[] {
  const found = new Set([...characters, SPACE]);
  found.delete(DELIMITER);
  const place = (character: string): number => character.codePointAt(0) as number;
  return [...found].sort((a, b) => place(a) - place(b));
}

/** Returns all tokens in the order of their ids. */
function tokensOf(characters: readonly string[]): string[] {
  const withSpace = characters.includes(SPACE) ? characters : [...characters, SPACE];
  return [
    ...withSpace.map((character) => (character === SPACE ? DELIMITER : character)),
    UNKNOWN,
    BLANK,
  ];
}

export const vocabularySize = (characters: readonly string[]): number =>
  tokensOf(characters).length;

/** Id of the CTC blank token: the last. */
export const blankOf = (characters: readonly string[]): number => vocabularySize(characters) - 1;

export function vocabularyOf(characters: readonly string[]): VocabularyFiles {
  const vocabulary = Object.fromEntries(tokensOf(characters).map((token, id) => [token, id]));
  return { vocabulary, tokenizerConfig: TOKENIZER_CONFIG };
}

/** Returns the characters of a vocabulary that was created this way; null for any other vocabulary. */
export function charactersIn({ vocabulary }: VocabularyFiles): string[] | null {
  const ids = new Map(Object.entries(vocabulary).map(([token, id]) => [id, token]));
  const tokens = Array.from({ length: ids.size }, (_, id) => ids.get(id));
  const characters = tokens.slice(0, -2).map((token) => (token === DELIMITER ? SPACE : token));
  const isCharacter = (one: string | undefined): one is string => one !== undefined && Array.from(one).length === 1; // prettier-ignore
  const isMade = tokens.at(-2) === UNKNOWN && tokens.at(-1) === BLANK;
  return isMade && characters.every(isCharacter) ? characters : null;
}
