// Interface and shared code of audio feature extractors, after transformers'; each class has its own file.
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';

export interface FeatureExtractor {
  /** Sampling rate of the input in Hz. */
  readonly samplingRate: number;
  /** Minimum number of samples. */
  readonly minSamples: number;
  /** Number of samples that are used; null if there is no limit. */
  readonly maxSamples: number | null;
  /** Shape of the features of this many samples. Does not need libtorch. */
  shape(samples: number): readonly number[];
  /** Features in f32 on the CPU, with the shape that `shape` returns. */
  extract(samples: Float32Array): Tensor;
}

/** A class of transformers, by its name in preprocessor_config.json. */
export interface FeatureExtractorClass {
  readonly type: string;
  /** @throws z.ZodError if a key of preprocessor_config.json is unknown, or its value not supported */
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

/** Keys of every class. Those on padding are ignored: clips are padded only as their class does itself. */
const SHARED = {
  feature_extractor_type: z.string().optional(),
  processor_class: z.string().nullish(),
  feature_size: z.int().optional(),
  padding_side: z.enum(['left', 'right']).optional(),
  padding_value: z.literal(0).optional(),
  return_attention_mask: z.boolean().optional(),
} as const;

export const SAMPLING_RATE = z.int().min(1000).max(384_000).default(16_000);
