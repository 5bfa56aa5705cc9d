// The feature extractors by transformers' class names.
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { astFeatureExtractor } from './ast-feature-extractor.js';
import type { FeatureExtractor } from './feature-extractor.js';
import { wav2vec2FeatureExtractor } from './wav2vec2-feature-extractor.js';
import { whisperFeatureExtractor } from './whisper-feature-extractor.js';

const CLASSES = [whisperFeatureExtractor, wav2vec2FeatureExtractor, astFeatureExtractor];

/** Whether a preprocessor_config.json is for audio. */
export const isFeatureExtractor = (config: unknown): boolean => typeOf(config) !== undefined;

/** @throws DomainError `unsupported` naming the class or the key that is not supported */
export function readFeatureExtractor(config: unknown): FeatureExtractor {
  const type = typeOf(config);
  const found = CLASSES.find((each) => each.type === type);
  if (!found)
    throw unsupported(
      `feature_extractor_type: expected one of ${CLASSES.map((each) => each.type).join(', ')}, ` +
        `got ${JSON.stringify(type)}`,
    );
  try {
    return found.read(config);
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    const [issue] = error.issues;
    throw unsupported(`${[...(issue?.path ?? []), ''].join(': ')}${issue?.message}`);
  }
}

function typeOf(config: unknown): string | undefined {
  const type = (config as { feature_extractor_type?: unknown } | null)?.feature_extractor_type;
  return typeof type === 'string' ? type : undefined;
}

const unsupported = (what: string): DomainError =>
  new DomainError('unsupported', `preprocessor_config.json: ${what}`, 'model');
