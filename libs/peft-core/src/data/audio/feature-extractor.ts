// What a model hears of a sound, after transformers' feature extractors: one class a file, and here what they share.
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';

export interface FeatureExtractor {
  /** of the samples that it takes, a second */
  readonly samplingRate: number;
  /** fewer cannot be turned into features */
  readonly minSamples: number;
  /** samples beyond which nothing is heard; null where all is */
  readonly maxSamples: number | null;
  /** of the features of so many samples: needs no libtorch */
  shape(samples: number): readonly number[];
  /** f32 on the CPU, of the shape that `shape` says */
  extract(samples: Float32Array): Tensor;
}

/** A class of transformers, by the name that preprocessor_config.json has for it. */
export interface FeatureExtractorClass {
  readonly type: string;
  /** @throws z.ZodError where a key of preprocessor_config.json is unknown, or its value not what is understood */
  read(config: unknown): FeatureExtractor;
}

export function defineFeatureExtractor<C extends z.ZodRawShape>(
  type: string,
  keys: C,
  make: (config: z.output<z.ZodObject<C>>) => FeatureExtractor,
): FeatureExtractorClass {
  const schema = z.strictObject({ ...SHARED, ...keys });
  return { type, read: (config) => make(schema.parse(config) as z.output<z.ZodObject<C>>) };
}

/** Keys that every class has. No sound is padded beyond what its class does itself, so what is said of padding is moot. */
const SHARED = {
  feature_extractor_type: z.string().optional(),
  processor_class: z.string().nullish(),
  feature_size: z.int().optional(),
  padding_side: z.enum(['left', 'right']).optional(),
  padding_value: z.literal(0).optional(),
  return_attention_mask: z.boolean().optional(),
} as const;

export const SAMPLING_RATE = z.int().min(1000).max(384_000).default(16_000);
