// M. F. Porter, "An algorithm for suffix stripping" (1980), with the default extensions of NLTK's PorterStemmer,
// which NLTK's METEOR uses.

const IRREGULAR: Readonly<Record<string, string>> = {
  skies: 'sky',
  sky: 'sky',
  dying: 'die',
  lying: 'lie',
  tying: 'tie',
  news: 'news',
  innings: 'inning',
  inning: 'inning',
  outings: 'outing',
  outing: 'outing',
  cannings: 'canning',
  canning: 'canning',
  howe: 'howe',
  proceed: 'proceed',
  exceed: 'exceed',
  succeed: 'succeed',
};

type Rule = readonly [suffix: string, instead: string, when?: (stem: string) => boolean];

/** Replaces consonants by c and vowels by v. A y after a consonant is a vowel. */
function shape(word: string): string {
  let form = '';
  for (const letter of word) {
    const vowel = 'aeiou'.includes(letter) || (letter === 'y' && form.endsWith('c'));
    form += vowel ? 'v' : 'c';
  }
  return form;
}

const measure = (stem: string): number => shape(stem).split('vc').length - 1;
const some = (stem: string): boolean => measure(stem) > 0;
const several = (stem: string): boolean => measure(stem) > 1;
const endsDouble = (word: string): boolean =>
  word.length >= 2 && word.at(-1) === word.at(-2) && shape(word).endsWith('c');
const endsShort = (word: string): boolean =>
  (shape(word).endsWith('cvc') && !/[wxy]$/.test(word)) || shape(word) === 'vc';

/** Applies the first rule with a matching suffix, if its condition holds; later rules are not tried. */
function apply(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(([suffix]) => word.endsWith(suffix));
  if (!rule) return word;
  const [suffix, instead, when] = rule;
  const stem = word.slice(0, word.length - suffix.length);
  return when === undefined || when(stem) ? stem + instead : word;
}

const step1a = (word: string): string =>
  word.endsWith('ies') && word.length === 4
    ? word.slice(0, -1)
    : apply(word, [
        ['sses', 'ss'],
        ['ies', 'i'],
        ['ss', 'ss'],
        ['s', ''],
      ]);

function step1b(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith('eed')) return some(word.slice(0, -3)) ? word.slice(0, -1) : word;
  const suffix = ['ed', 'ing'].find(
    (one) => word.endsWith(one) && shape(word.slice(0, -one.length)).includes('v'),
  );
  if (suffix === undefined) return word;
  const stem = word.slice(0, -suffix.length);
  if (/(?:at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (endsDouble(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

const step1c = (word: string): string =>
  apply(word, [['y', 'i', (stem) => stem.length > 1 && shape(stem).endsWith('c')]]);

const STEP_2: readonly Rule[] = [
  ['ational', 'ate', some],
  ['tional', 'tion', some],
  ['enci', 'ence', some],
  ['anci', 'ance', some],
  ['izer', 'ize', some],
  ['bli', 'ble', some],
  ['alli', 'al', some],
  ['entli', 'ent', some],
  ['eli', 'e', some],
  ['ousli', 'ous', some],
  ['ization', 'ize', some],
  ['ation', 'ate', some],
  ['ator', 'ate', some],
  ['alism', 'al', some],
  ['iveness', 'ive', some],
  ['fulness', 'ful', some],
  ['ousness', 'ous', some],
  ['aliti', 'al', some],
  ['iviti', 'ive', some],
  ['biliti', 'ble', some],
  ['fulli', 'ful', some],
  ['logi', 'log', (stem) => some(`${stem}l`)],
];

function step2(word: string): string {
  let from = word;
  while (from.endsWith('alli') && some(from.slice(0, -4))) from = from.slice(0, -2);
  return apply(from, STEP_2);
}

const STEP_3: readonly Rule[] = [
  ['icate', 'ic', some],
  ['ative', '', some],
  ['alize', 'al', some],
  ['iciti', 'ic', some],
  ['ical', 'ic', some],
  ['ful', '', some],
  ['ness', '', some],
];

const STEP_4: readonly Rule[] = [
  ...['al', 'ance', 'ence', 'er', 'ic', 'able', 'ible', 'ant', 'ement', 'ment', 'ent'].map(
    (suffix): Rule => [suffix, '', several],
  ),
  ['ion', '', (stem) => several(stem) && /[st]$/.test(stem)],
  ...['ou', 'ism', 'ate', 'iti', 'ous', 'ive', 'ize'].map((suffix): Rule => [suffix, '', several]),
];

const step5a = (word: string): string =>
  apply(word, [['e', '', (stem) => several(stem) || (measure(stem) === 1 && !endsShort(stem))]]);

const step5b = (word: string): string =>
  apply(word, [['ll', 'l', () => several(word.slice(0, -1))]]);

/** Returns the stem of a word in lower case. */
export function porterStem(word: string): string {
  if (Object.hasOwn(IRREGULAR, word)) return IRREGULAR[word]!;
  if ([...word].length <= 2) return word;
  const stem = step2(step1c(step1b(step1a(word))));
  return step5b(step5a(apply(apply(stem, STEP_3), STEP_4)));
}
