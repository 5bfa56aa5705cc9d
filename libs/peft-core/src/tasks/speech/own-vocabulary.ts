// Vocabulary that a job builds from its texts, for a base model without a vocabulary or with another one:
// options, survey and warnings.
import { isDeepStrictEqual } from 'node:util';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { CtcTokenizer } from '../../data/audio/ctc-tokenizer.js';
import {
  blankOf,
  DELIMITER,
  charactersOf,
  vocabularyOf,
  vocabularySize,
} from '../../data/audio/derived-vocabulary.js';
import { shown } from '../../data/json-scan.js';
import type { Processor } from '../../data/processor.js';
import type { JsonObject } from '../../data/json-line.js';
import type { Notes, OwnHead, OwnVocabulary, Survey } from '../task.js';

/** Maximum size of a vocabulary. Chinese newspapers use about 5,000 characters. */
const MOST_CHARACTERS = 8192;

const isCharacter = (character: string): boolean =>
  Array.from(character).length === 1 && !isUnwritten(character);

/** Whether a character cannot be stored in files or databases: an unpaired surrogate, or NUL. */
const isUnwritten = (character: string): boolean => character === '\0' || !character.isWellFormed();

export const vocabularyOptions = {
  vocabulary_from_data: z
    .boolean()
    .default(false)
    .describe(
      "Build the vocabulary from the characters of the training file's texts instead of using the base's; lm_head is then new and trained. A base without a vocabulary always gets a new one",
    ),
  letters: z
    .array(
      z
        .string()
        .refine(isCharacter, 'expected one character')
        .refine((one) => one !== DELIMITER, `${DELIMITER} separates words; remove it`),
    )
    .min(1)
    .max(MOST_CHARACTERS)
    .refine((all) => new Set(all).size === all.length, 'a character is listed twice')
    .nullable()
    .default(null)
    .describe(
      'Characters of the vocabulary in the order of their ids. Default: those of the base, or of the training file with vocabulary_from_data',
    ),
};

export interface VocabularyOptions {
  readonly vocabulary_from_data: boolean;
  /**
   * Characters of the vocabulary. Null if it is the base model's, or if the texts have not been read yet.
   */
  readonly letters: readonly string[] | null;
}

// `letters` is missing in options that are not resolved yet.
const ownCharacters = ({ letters = null }: Partial<VocabularyOptions>): readonly string[] | null =>
  letters;

const requestsNew = (options: VocabularyOptions): boolean =>
  ownCharacters(options) !== null || Boolean(options.vocabulary_from_data);

/** Vocabulary size of the head before the texts are read: the default of Transformers' configs. */
const USUAL = 32;

export const ctcHead: OwnHead<VocabularyOptions> = {
  kind: 'ctc',
  outputs(options) {
    const letters = ownCharacters(options);
    if (letters !== null) return vocabularySize(letters);
    return requestsNew(options) ? USUAL : null;
  },
  config(options) {
    const letters = ownCharacters(options) ?? [];
    return { vocab_size: vocabularySize(letters), pad_token_id: blankOf(letters) };
  },
};

export const ownVocabulary: OwnVocabulary<VocabularyOptions> = {
  on: (options, { ctc }) =>
    ctc || requestsNew(options) ? options : { ...options, vocabulary_from_data: true },
  continued(options, initial) {
    const letters = ownCharacters(options);
    if (initial === null && !requestsNew(options)) return options;
    if (initial !== null && (letters ? isDeepStrictEqual(letters, initial) : !requestsNew(options)))
      return { ...options, vocabulary_from_data: false, letters: initial };
    const [field, whose] = [
      letters === null ? 'vocabulary_from_data' : 'letters',
      initial === null ? 'the vocabulary of its base' : `its own vocabulary (${inWords(initial)})`,
    ];
    const message = `the initial adapter keeps ${whose}; remove this option`;
    throw new DomainError('invalid_value', message, `graft.task_options.${field}`);
  },
  trained: (options, stored) =>
    requestsNew(options) && ownCharacters(options) === null
      ? { ...options, letters: stored() }
      : options,
  files: (options) => {
    const letters = ownCharacters(options);
    return letters && vocabularyOf(letters);
  },
};

/** Returns the blank of the run's own vocabulary. Null if the vocabulary is the base model's. */
export const ownBlank = (options: VocabularyOptions): number | null => {
  const letters = ownCharacters(options);
  return letters && blankOf(letters);
};

const tokenizers = new WeakMap<readonly string[], CtcTokenizer>();

/**
 * Returns the tokenizer of the job's own vocabulary, or of the base model.
 * @throws DomainError if neither has a vocabulary
 */
export function tokenizerOf(options: VocabularyOptions, processor: Processor): CtcTokenizer {
  const letters = ownCharacters(options);
  if (letters === null) return processor.ctcTokenizer;
  let known = tokenizers.get(letters);
  if (!known) {
    const written = { blank: blankOf(letters), vocabSize: vocabularySize(letters) };
    tokenizers.set(letters, (known = new CtcTokenizer(vocabularyOf(letters), written)));
  }
  return known;
}

/** Survey of the characters in the training texts. */
export class VocabularySurvey<O extends VocabularyOptions> implements Survey<O> {
  readonly isIdle: boolean;
  readonly #found = new Set<string>();

  constructor(private readonly given: O) {
    this.isIdle = ownCharacters(given) !== null || !requestsNew(given);
  }

  see({ text }: JsonObject, isTrained = true): string | null {
    if (!isTrained) return null;
    for (const character of text as string) {
      if (isUnwritten(character))
        return `"text" contains ${shown(character)}, which cannot be in a vocabulary; remove it`;
      this.#found.add(character);
    }
    return null;
  }

  options(): O {
    const letters = charactersOf(this.#found);
    const refuse = (message: string): DomainError =>
      new DomainError('invalid_training_file', message, 'training_file');
    if (letters.length === 1)
      throw refuse(
        'no text contains a character other than spaces: there is nothing to transcribe',
      );
    if (letters.length <= MOST_CHARACTERS) return { ...this.given, letters };
    const [has, most] = [letters.length, MOST_CHARACTERS].map((n) => n.toLocaleString('en-US'));
    throw refuse(
      `the texts have ${has} different characters, but a vocabulary may have at most ${most}`,
    );
  }
}

/** Warnings about characters that are not in the vocabulary. */
export class VocabularyNotes implements Notes {
  /** Number of texts that contain each character. */
  readonly #texts = new Map<string, number>();
  readonly #tokenizer: CtcTokenizer;
  readonly #base: CtcTokenizer | null;

  constructor(options: VocabularyOptions, processor: Processor) {
    this.#tokenizer = tokenizerOf(options, processor);
    // Characters listed in the options may be those of an initial adapter, which cannot be changed.
    const isRequested = Boolean(options.vocabulary_from_data);
    this.#base = isRequested && processor.has('ctcTokenizer') ? processor.ctcTokenizer : null;
  }

  see({ text }: JsonObject): void {
    for (const character of new Set(text as string))
      this.#texts.set(character, (this.#texts.get(character) ?? 0) + 1);
  }

  warnings(name: string, isTrained: boolean): string[] {
    const among = (letters: CtcTokenizer) => ([character]: readonly [string, number]): boolean => letters.knows(character); // prettier-ignore
    const all = [...this.#texts];
    const unknown = all.filter((one) => !among(this.#tokenizer)(one)).sort(([, a], [, b]) => b - a);
    const some = unknown.slice(0, 8).map(([character, n]) => `${shown(character)} (${n.toLocaleString('en')})`); // prettier-ignore
    const more = unknown.length > 8 ? ', …' : '';
    const one = unknown.length === 1;
    const warning = `${unknown.length} character${one ? '' : 's'} of the ${name} ${one ? 'is' : 'are'} not in the vocabulary of this job and ${one ? 'is' : 'are'} ${isTrained ? 'trained on' : 'evaluated'} as the unknown token. Number of examples with ${one ? 'it' : 'each'}: ${some.join(', ')}${more}.`;
    const isIdle = isTrained && this.#base !== null && all.every(among(this.#base));
    return [
      ...(unknown.length > 0 ? [warning] : []),
      ...(isIdle ? ['The vocabulary of the base already has every character of the texts, and the base has a head for it. Without vocabulary_from_data, training reuses both, which needs fewer examples.'] : []), // prettier-ignore
    ];
  }
}

function inWords(letters: readonly string[]): string {
  const some = letters.filter((character) => character !== ' ').slice(0, 8);
  return letters.length > 9 ? `${some.join(' ')} …` : some.join(' ');
}
