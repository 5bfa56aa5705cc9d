// Turns data into a model's inputs, like transformers' AutoProcessor. Each base model has one, loaded from its files.
import { DomainError } from '@graft/contracts';
import type { InputKind } from '../nn/front-ends/registry.js';
import { AudioProcessor } from './audio/audio-processor.js';
import { ImageProcessor } from './image/image-processor.js';
import { CtcTokenizer } from './audio/ctc-tokenizer.js';
import { PREPROCESSOR, PROCESSOR, VOCABULARY, type ProcessorFiles } from './processor-files.js';
import { Tokenizer } from './text/tokenizer.js';
import { checkTokens, TOKENIZER, tokenCount, type TokenizerFiles } from './text/tokenizer-files.js';

export interface ProcessorParts {
  readonly tokenizer?: Tokenizer | null;
  readonly image?: ImageProcessor | null;
  readonly audio?: AudioProcessor | null;
  readonly writing?: Writing | null;
  readonly ctcTokenizer?: CtcTokenizer | null;
}

/** Properties of a model that determine its inputs. */
export interface Reads {
  readonly inputKind: InputKind;
  inputRows(shape: readonly number[]): number;
  readonly startToken: number | null;
  readonly targetPositions: number | null;
  readonly ctc: { readonly blank: number } | null;
  readonly vocabSize: number;
}

/** Decoding settings of a model that transcribes audio with a decoder. */
export interface Writing {
  /** Token that the decoder starts with. */
  readonly startToken: number;
  /** Maximum number of tokens that the decoder can generate. */
  readonly positions: number;
  /** Token ids that transformers never generates. */
  readonly suppressed: readonly number[];
  /** Token ids that transformers never generates first. */
  readonly suppressedFirst: readonly number[];
}

/** Advice for a base model without a CTC vocabulary. */
const ADVICE =
  'train it for task ctc, which creates one from your texts, and use the resulting model';

export class Processor {
  constructor(private readonly parts: ProcessorParts) {}

  /**
   * Loads the processor of a base model.
   * @param reads null for text
   * @throws DomainError that names the missing file or the unsupported setting
   */
  static load(files: ProcessorFiles, reads: Reads | null): Processor {
    switch (reads?.inputKind) {
      case 'image':
        return new Processor({ image: imageProcessor(files, reads) });
      case 'audio': {
        const audio = audioProcessor(files, reads);
        const ids = idsOf(files, reads);
        const tokenizer = ids && Tokenizer.load(ids);
        const writing = writingOf(files, reads);
        return new Processor({
          audio,
          tokenizer,
          writing,
          ctcTokenizer: ctcTokenizerOf(files, reads),
        });
      }
      default:
        return new Processor({ tokenizer: Tokenizer.load(files.tokenizer ?? missing(TOKENIZER)) });
    }
  }

  has(part: keyof ProcessorParts): boolean {
    return Boolean(this.parts[part]);
  }

  /** Tokenizer. @throws DomainError if the base model has none */
  get tokenizer(): Tokenizer {
    return this.parts.tokenizer ?? reads('no text');
  }

  /** Image processor. @throws DomainError if the base model has none */
  get image(): ImageProcessor {
    return this.parts.image ?? reads('no images');
  }

  /** Audio processor. @throws DomainError if the base model has none */
  get audio(): AudioProcessor {
    return this.parts.audio ?? reads('no audio');
  }

  /** Decoding settings. @throws DomainError if the base model does not transcribe with a decoder */
  get writing(): Writing {
    return this.parts.writing ?? reads('audio, but writes no text');
  }

  /** CTC tokenizer. @throws DomainError if the base model has no CTC head */
  get ctcTokenizer(): CtcTokenizer {
    return this.parts.ctcTokenizer ?? reads(`audio, but has no CTC head (lm_head of a Wav2Vec2ForCTC); ${ADVICE}`); // prettier-ignore
  }

  dispose(): void {
    this.parts.tokenizer?.dispose();
  }
}

/**
 * Checks the files without building the processor.
 * @throws DomainError as `Processor.load` does, but checks JSON only; also if a tokenizer has more tokens than the
 * model
 */
export function checkProcessor(files: ProcessorFiles, reads: Reads): void {
  if (reads.inputKind === 'image') imageProcessor(files, reads);
  else if (reads.inputKind === 'audio') {
    audioProcessor(files, reads);
    ctcTokenizerOf(files, reads);
    const ids = idsOf(files, reads);
    if (ids) checkTokens(tokenCount(ids.tokenizerJson), reads.vocabSize);
  } else {
    const { tokenizerJson } = files.tokenizer ?? missing(TOKENIZER);
    checkTokens(tokenCount(tokenizerJson), reads.vocabSize);
  }
}

/**
 * Returns the tokenizer files of an audio model. Null if the model generates no text: the files then belong to the
 * model that its encoder was taken from.
 */
const idsOf = ({ tokenizer }: ProcessorFiles, { vocabSize }: Reads): TokenizerFiles | null =>
  vocabSize > 0 ? tokenizer : null;

function writingOf({ tokenizer }: ProcessorFiles, reads: Reads): Writing | null {
  const { startToken, targetPositions: positions } = reads;
  if (startToken === null || positions === null) return null;
  const { generationConfig, config } = tokenizer ?? {};
  const ids = (key: string): number[] => {
    const list: unknown = (generationConfig ?? config)?.[key];
    return Array.isArray(list) ? list.filter((id) => Number.isInteger(id)) : [];
  };
  const [suppressed, suppressedFirst] = [ids('suppress_tokens'), ids('begin_suppress_tokens')];
  return { startToken, positions, suppressed, suppressedFirst };
}

/**
 * Returns the image processor. Ignores a tokenizer in the folder: it belongs to the model that the image encoder was
 * taken from.
 */
const imageProcessor = ({ preprocessor }: ProcessorFiles, reads: Reads): ImageProcessor =>
  new ImageProcessor(
    preprocessor ?? missing(`${PREPROCESSOR} and no ${PROCESSOR} with an image_processor`),
    rowsBy(reads),
  );

const audioProcessor = ({ preprocessor }: ProcessorFiles, reads: Reads): AudioProcessor =>
  new AudioProcessor(
    preprocessor ?? missing(`${PREPROCESSOR} and no ${PROCESSOR} with a feature_extractor`),
    rowsBy(reads),
  );

const ctcTokenizerOf = (
  { vocabulary }: ProcessorFiles,
  { ctc, vocabSize }: Reads,
): CtcTokenizer | null =>
  ctc && new CtcTokenizer(vocabulary ?? missing(VOCABULARY), { ...ctc, vocabSize });

const rowsBy =
  (reads: Reads) =>
  (shape: readonly number[]): number => {
    try {
      return reads.inputRows(shape);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      const message = `${PREPROCESSOR} does not fit: ${error.message}`;
      throw new DomainError('invalid_model', message, 'model');
    }
  };

function missing(file: string): never {
  const message = `the model has no ${file}; save its processor with transformers' save_pretrained to get one`;
  throw new DomainError('invalid_model', message, 'model');
}

function reads(what: string): never {
  throw new DomainError('unsupported', `the base reads ${what}`, 'model');
}
