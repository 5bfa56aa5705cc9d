import { DomainError, nearestNames, shorten } from '@graft/contracts';
import { frontEndBytes } from '../nn/front-ends/registry.js';
import { Outline } from '../nn/outline/model-outline.js';
import type { HeadRequest } from '../nn/outline/head-shapes.js';
import { ModelOptions } from '../nn/outline/stack-options.js';
import { registry } from '../plug-in-registry.js';
import { quantizerFor, storedQuantizer } from '../quant/registry.js';
import { albert } from './albert.js';
import { assemble } from './frame/assemble.js';
import { bloom } from './bloom.js';
import { gemma } from './gemma.js';
import { gemma2 } from './gemma2.js';
import { falcon } from './falcon.js';
import { bart } from './bart.js';
import { bert } from './bert.js';
import { distilBert } from './distilbert.js';
import { gpt2 } from './gpt2.js';
import { gptNeoX } from './gpt-neox.js';
import { granite } from './granite.js';
import { olmo2 } from './olmo2.js';
import { phi3 } from './phi3.js';
import { smollm3 } from './smollm3.js';
import { readHf } from './frame/hf-config.js';
import { lfm2 } from './lfm2.js';
import { llama } from './llama.js';
import { modernBert } from './modernbert.js';
import { mixtral } from './mixtral.js';
import { mpt } from './mpt.js';
import { opt } from './opt.js';
import { qwen3Moe } from './qwen3-moe.js';
import { roberta } from './roberta.js';
import { t5 } from './t5.js';
import { deit } from './deit.js';
import { dinov2WithRegisters } from './dinov2-with-registers.js';
import { dinov2 } from './dinov2.js';
import { siglip } from './siglip.js';
import { vit } from './vit.js';
import { audioSpectrogramTransformer } from './audio-spectrogram-transformer.js';
import { wav2vec2 } from './wav2vec2.js';
import { whisper } from './whisper.js';
import type { Model, ModelPlugin } from './model.js';
import type { HfConfig, Tensors } from '../nn/hf-files.js';
import type { Precision } from '../nn/precision.js';

/** All model families. Derivatives under other names are entries of `modelTypes`. */
export const models: readonly ModelPlugin[] = [
  llama,
  gpt2,
  gptNeoX,
  opt,
  bloom,
  gemma,
  gemma2,
  falcon,
  phi3,
  olmo2,
  granite,
  smollm3,
  lfm2,
  mpt,
  mixtral,
  qwen3Moe,
  t5,
  bart,
  bert,
  roberta,
  distilBert,
  albert,
  modernBert,
  vit,
  deit,
  dinov2,
  dinov2WithRegisters,
  siglip,
  whisper,
  wav2vec2,
  audioSpectrogramTransformer,
] as unknown as ModelPlugin[];

/** Returns the model_types of config.json that can be exported as GGUF files. */
export const ggufModelTypes = (): readonly string[] =>
  models.flatMap(({ gguf = [] }) => gguf.flatMap(({ writes }) => writes?.modelTypes ?? []));

const byType = registry('model type', models, ({ modelTypes }) => modelTypes);

/** Returns the family of a config.json. @throws DomainError invalid_model if there is none */
export function forConfig(config: HfConfig): ModelPlugin {
  return forType(config.model_type);
}

/** Returns the family of a model_type. @throws DomainError invalid_model if there is none */
export function forType(modelType: string): ModelPlugin {
  const found = byType.get(modelType);
  if (found) return found;
  const known = [...byType.keys()];
  const nearest = nearestNames(modelType, known);
  const hint = nearest.length === 0 ? '' : `did you mean ${nearest.join(', ')}? `;
  throw new DomainError(
    'invalid_model',
    `unknown model_type "${shorten(modelType, 100)}"; ${hint}supported: ${known.join(', ')}`,
    'model',
  );
}

/**
 * Returns the outline of a config.json's model, optionally with a task's head.
 * @throws DomainError invalid_model like `buildModel`
 */
export function outlineOf(config: HfConfig, head: HeadRequest | null = null): Outline {
  return new Outline(optionsOf(config), forConfig(config).paths, head);
}

/**
 * Returns the bytes that a front end temporarily needs to compute this many rows of one input, if much more
 * than the rows.
 */
export const inputBytesOf = (config: HfConfig, rows: number): number =>
  frontEndBytes(optionsOf(config).encoder?.frontEnd, rows);

/**
 * Returns the precision of a loaded base model: as requested, or as its files are quantized.
 * @throws DomainError if the files are quantized in another way than requested, or in an unsupported way
 */
export function precisionOf(config: HfConfig, { dtype, quantization }: Precision): Precision {
  const stored = storedQuantizer(config);
  if (stored && quantization !== null && quantization !== stored.name) {
    const message = `the base's files are quantized as ${stored.name} and cannot be loaded as ${quantization}`;
    throw new DomainError('invalid_value', message, 'graft.quantization');
  }
  const held = stored?.name ?? quantization;
  const refusal = held === null ? null : quantizerFor(held).refusal?.(config);
  if (refusal) throw new DomainError('invalid_value', refusal, 'graft.quantization');
  return { dtype, quantization: held };
}

/**
 * Builds a frozen model from weights by their Hugging Face names.
 * @throws DomainError invalid_model if config or weights do not describe a model of the family
 */
export function buildModel(config: HfConfig, tensors: Tensors, asked: Precision): Model {
  const { name, paths, aliases = {} } = forConfig(config);
  const { dtype, quantization } = precisionOf(config, asked);
  const quantizer = quantization === null ? null : quantizerFor(quantization);
  const isStoredPacked =
    quantizer !== null && (!quantizer.quantize || storedQuantizer(config) !== null);
  return assemble({
    family: name,
    config,
    options: optionsOf(config),
    paths,
    tensors,
    reading: { dtype, quantizer, isStoredPacked, aliases },
  });
}

const HEADLESS = /(?<!LMHead)Model$|For(SequenceClassification|TokenClassification|QuestionAnswering)$/; // prettier-ignore

/**
 * Whether Transformers saved a decoder as a class without an lm head, and the head is not tied to the
 * embedding.
 */
function isHeadless({ architectures }: HfConfig, { encoder, tiedHead }: ModelOptions): boolean {
  const [name] = Array.isArray(architectures) ? (architectures as unknown[]) : [];
  return encoder === null && !tiedHead && typeof name === 'string' && HEADLESS.test(name);
}

/**
 * Returns the sizes and options of a config.json's model.
 * @throws DomainError invalid_model like `buildModel`
 */
export function optionsOf(config: HfConfig): ModelOptions {
  const plugin = forConfig(config);
  const parsed = ModelOptions.safeParse(
    plugin.options(readHf(config, plugin.hf), config.model_type),
  );
  if (parsed.success) return { ...parsed.data, lmHead: !isHeadless(config, parsed.data) };
  const [issue] = parsed.error.issues;
  const message = `config.json: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`;
  throw new DomainError('invalid_model', message, 'model');
}
