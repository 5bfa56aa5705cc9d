// Whisper's text normalization for comparing transcripts (arXiv:2212.04356, appendix C), as in
// Transformers' BasicTextNormalizer and EnglishTextNormalizer: lower case, no punctuation, and for English
// one notation of contractions, numbers and spellings.
import { standardNumbers } from './english-numbers.js';
import { SPELLINGS } from './english-spellings.js';
import { SPACE, wordPattern } from './unicode-words.js';

/** Normalizes text of any language: lower case, without bracketed text, marks, symbols and punctuation. */
export function basicText(text: string): string {
  const plain = withoutAsides(text.toLowerCase()).normalize('NFKC');
  return plain
    .replace(/[\p{M}\p{S}\p{P}]/gu, ' ')
    .toLowerCase()
    .replace(SPACE, ' ');
}

export function englishText(text: string): string {
  let s = withoutAsides(text.toLowerCase());
  s = s.replace(FILLERS, '').replace(SPACE_BEFORE_APOSTROPHE, "'");
  for (const [pattern, replacement] of CONTRACTIONS) s = s.replace(pattern, replacement);
  s = s.replace(/(\p{Nd}),(\p{Nd})/gu, '$1$2').replace(/\.([^0-9]|$)/gu, ' $1');
  s = standardNumbers(withoutMarks(s, '.%$¢€£'));
  s = s
    .split(SPACE)
    .filter(Boolean)
    .map((word) => SPELLINGS.get(word) ?? word)
    .join(' ');
  // signs without a number
  s = s.replace(/[.$¢€£]([^0-9])/gu, ' $1').replace(/([^0-9])%/gu, '$1 ');
  return s.replace(SPACE, ' ');
}

const withoutAsides = (s: string): string => {
  const first = upTo(s, /[<[][^>\]]*[>\]]/gu, Math.max(s.lastIndexOf('>'), s.lastIndexOf(']')));
  return upTo(first, /\(([^)]+?)\)/gu, first.lastIndexOf(')'));
};

/**
 * Removes matches that end at or before `last`: an unclosed bracket would otherwise be searched to the end
 * of the text.
 */
const upTo = (s: string, pattern: RegExp, last: number): string =>
  s.slice(0, last + 1).replace(pattern, '') + s.slice(last + 1);

const FILLERS = wordPattern('\\b(?:hmm|mm|mhm|mmm|uh|um)\\b');
/**
 * Matches from the first space of a run only: each later space would otherwise start another search to its
 * end.
 */
const SPACE_BEFORE_APOSTROPHE = new RegExp(
  `(?<!${SPACE.source.replace(/\+$/, '')})${SPACE.source}'`,
  'gu',
);

const CONTRACTIONS: readonly (readonly [pattern: RegExp, replacement: string])[] = Object.entries({
  "\\bwon't\\b": 'will not',
  "\\bcan't\\b": 'can not',
  "\\blet's\\b": 'let us',
  "\\bain't\\b": 'aint',
  "\\by'all\\b": 'you all',
  '\\bwanna\\b': 'want to',
  '\\bgotta\\b': 'got to',
  '\\bgonna\\b': 'going to',
  "\\bi'ma\\b": 'i am going to',
  '\\bimma\\b': 'i am going to',
  '\\bwoulda\\b': 'would have',
  '\\bcoulda\\b': 'could have',
  '\\bshoulda\\b': 'should have',
  "\\bma'am\\b": 'madam',
  '\\bmr\\b': 'mister ',
  '\\bmrs\\b': 'missus ',
  '\\bst\\b': 'saint ',
  '\\bdr\\b': 'doctor ',
  '\\bprof\\b': 'professor ',
  '\\bcapt\\b': 'captain ',
  '\\bgov\\b': 'governor ',
  '\\bald\\b': 'alderman ',
  '\\bgen\\b': 'general ',
  '\\bsen\\b': 'senator ',
  '\\brep\\b': 'representative ',
  '\\bpres\\b': 'president ',
  '\\brev\\b': 'reverend ',
  '\\bhon\\b': 'honorable ',
  '\\basst\\b': 'assistant ',
  '\\bassoc\\b': 'associate ',
  '\\blt\\b': 'lieutenant ',
  '\\bcol\\b': 'colonel ',
  '\\bjr\\b': 'junior ',
  '\\bsr\\b': 'senior ',
  '\\besq\\b': 'esquire ',
  "'d been\\b": ' had been',
  "'s been\\b": ' has been',
  "'d gone\\b": ' had gone',
  "'s gone\\b": ' has gone',
  "'d done\\b": ' had done',
  "'s got\\b": ' has got',
  "n't\\b": ' not',
  "'re\\b": ' are',
  "'s\\b": ' is',
  "'d\\b": ' would',
  "'ll\\b": ' will',
  "'t\\b": ' not',
  "'ve\\b": ' have',
  "'m\\b": ' am',
}).map(([pattern, replacement]) => [wordPattern(pattern), replacement]);

/** Letters without a Unicode decomposition. */
const LETTERS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    œ: 'oe', Œ: 'OE', ø: 'o', Ø: 'O', æ: 'ae', Æ: 'AE', ß: 'ss', ẞ: 'SS', đ: 'd', Đ: 'D', ð: 'd', Ð: 'D', þ: 'th',
    Þ: 'th', ł: 'l', Ł: 'L',
  }), // prettier-ignore
);

function withoutMarks(s: string, kept: string): string {
  return Array.from(s.normalize('NFKD'), (character) => {
    if (kept.includes(character)) return character;
    const letter = LETTERS.get(character);
    if (letter !== undefined) return letter;
    if (/\p{Mn}/u.test(character)) return '';
    return /[\p{M}\p{S}\p{P}]/u.test(character) ? ' ' : character;
  }).join('');
}
