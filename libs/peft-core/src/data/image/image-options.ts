// Reads the image options of preprocessor_config.json, with transformers' names and defaults. Loads no native
// code.
import { DomainError } from '@graft/contracts';
import type { Resampling } from '@graft/kernels';
import { z } from 'zod';
import { shown } from '../json-scan.js';
import type { Json } from '../text/tokenizer-files.js';

export interface ImageOptions {
  /** Null if images are not resized. */
  readonly resize: {
    /** Height and width, or only the shorter edge. */
    readonly size: readonly [number, number] | number;
    readonly resampling: Resampling;
  } | null;
  /** Height and width. */
  readonly crop: readonly [number, number] | null;
  /** Factor of the pixel values; 1 leaves them unchanged. */
  readonly rescale: number;
  readonly normalize: { readonly mean: readonly number[]; readonly std: readonly number[] } | null;
}

/** IMAGENET_STANDARD_MEAN and _STD. */
const STANDARD = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
const SQUARE = { height: 224, width: 224 };
const [BILINEAR, BICUBIC] = [2, 3];

/** transformers' classes, with the defaults of each. */
const CLASSES: Readonly<Record<string, Json>> = {
  ViTImageProcessor: { resample: BILINEAR, size: SQUARE, ...STANDARD },
  DeiTImageProcessor: {
    resample: BICUBIC,
    size: { height: 256, width: 256 },
    crop_size: SQUARE,
    do_center_crop: true,
    ...STANDARD,
  },
  SiglipImageProcessor: { resample: BICUBIC, size: SQUARE, ...STANDARD },
  BitImageProcessor: {
    resample: BICUBIC,
    size: { shortest_edge: 224 },
    crop_size: SQUARE,
    do_center_crop: true,
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_std: [0.26862954, 0.26130258, 0.27577711],
  },
};

const side = z.int().min(1).max(4096);
const square = z.strictObject({ height: side, width: side });
const three = z.array(z.number()).length(3);

/**
 * Schema of the config. Older files have one number for height and width, or for the shorter edge in some
 * classes.
 */
const Config = z.strictObject({
  do_resize: z.boolean().default(true),
  size: z.union([side, square, z.strictObject({ shortest_edge: side })]),
  resample: z.literal([BILINEAR, BICUBIC]),
  do_center_crop: z.boolean().default(false),
  crop_size: z.union([side, square]).nullable().default(null),
  do_rescale: z.boolean().default(true),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  do_normalize: z.boolean().default(true),
  image_mean: three,
  image_std: three,
  do_convert_rgb: z.boolean().default(true),
  do_pad: z.literal(false).default(false),
  data_format: z.literal('channels_first').default('channels_first'),
});

/** Keys that are ignored: they do not affect the result, or are transformers' own bookkeeping. */
const PASSED_OVER: ReadonlySet<string> = new Set([
  'image_processor_type',
  'feature_extractor_type',
  'processor_class',
  'default_to_square',
  'input_data_format',
  'device',
  'return_tensors',
  'disable_grouping',
  'auto_map',
  '_valid_processor_keys',
]);

/** Class that a config names, without suffixes of older versions; null if it is not for images. */
export function imageClass(config: Json): string | null {
  const named = config['image_processor_type'] ?? config['feature_extractor_type'];
  if (typeof named !== 'string') return null;
  const name = named.replace(/(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/, 'ImageProcessor');
  return config['image_processor_type'] !== undefined || name in CLASSES ? name : null;
}

/** @throws DomainError `unsupported` or `invalid_model`, naming the class or the key */
export function imageOptions(config: Json): ImageOptions {
  const name = imageClass(config) ?? '';
  const defaults = CLASSES[name];
  if (!defaults) {
    const known = Object.keys(CLASSES).join(', ');
    throw unsupported(`the image processor ${shown(name)} is not supported; supported: ${known}`);
  }
  const said = Object.entries(config).filter(
    ([key, value]) => value !== null && !PASSED_OVER.has(key),
  );
  const { success, data, error } = Config.safeParse({ ...defaults, ...Object.fromEntries(said) });
  if (!success) throw unsupported(problemOf(error));
  return optionsOf(data, defaults);
}

function optionsOf(config: z.infer<typeof Config>, defaults: Json): ImageOptions {
  const { size, crop_size: crop, resample, rescale_factor: factor } = config;
  const isEdge = 'shortest_edge' in (defaults['size'] as object);
  const options: ImageOptions = {
    resize: config.do_resize
      ? {
          size: typeof size === 'number' && !isEdge ? [size, size] : lengths(size),
          resampling: resample === BICUBIC ? 'bicubic' : 'bilinear',
        }
      : null,
    crop: config.do_center_crop && crop !== null ? pair(crop) : null,
    rescale: config.do_rescale ? factor : 1,
    normalize: config.do_normalize ? { mean: config.image_mean, std: config.image_std } : null,
  };
  if (options.crop === null && !Array.isArray(options.resize?.size))
    throw unsupported(
      'images would have several sizes; expected a size with height and width, or do_center_crop',
    );
  return options;
}

type Size = z.infer<typeof Config>['size'];

const lengths = (size: Size): readonly [number, number] | number => {
  if (typeof size === 'number') return size;
  return 'shortest_edge' in size ? size.shortest_edge : [size.height, size.width];
};

const pair = (size: number | z.infer<typeof square>): readonly [number, number] =>
  typeof size === 'number' ? [size, size] : [size.height, size.width];

function problemOf({ issues }: z.ZodError): string {
  const [issue] = issues;
  if (issue?.code === 'unrecognized_keys')
    return `the key ${shown(issue.keys[0])} is not supported`;
  return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
}

const unsupported = (what: string): DomainError =>
  new DomainError('unsupported', `preprocessor_config.json: ${what}`, 'model');
