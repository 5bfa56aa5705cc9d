// Checks an untrusted config.json. Keys that its family reads must have the right type and size. Keys that
// require custom code are rejected, unless the family is known to have such files. All other keys are
// ignored. Loads no native code.
import { DomainError } from '@graft/contracts';
import { scanJson } from '../../data/json-scan.js';
import type { Json } from '../../data/text/tokenizer-files.js';
import { COMMON, hfProblems } from '../../models/frame/hf-config.js';
import type { ModelPlugin } from '../../models/model.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { models } from '../../models/registry.js';
import { storedQuantizer } from '../../quant/registry.js';

const LIMITS = { depth: 8, keys: 512, items: 100_000 };

/** Keys that select code to run, or a format of weights that Graft cannot read. */
const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/^auto_map$/, 'the model needs custom code from its own repository, which Graft never runs'],
  [
    /^trust_remote_code$/,
    'the model needs custom code from another repository, which Graft never runs',
  ],
  [/^custom_pipelines$/, 'the model has custom pipelines, which Graft never runs'],
  [/^_attn_implementation/, 'the config selects an attention implementation, which is not allowed'],
  [
    /^_?attn_implementation_internal$/,
    'the config selects an attention implementation, which is not allowed',
  ],
  [/^compression_config$/, 'the weights are compressed; import the original weights'],
];

/** Returns the problems of a config.json's text; empty if it can be used. */
export function configProblems(text: string): string[] {
  const bad = scanJson(text, LIMITS);
  if (bad) return [`config.json: ${bad}`];
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    return ['config.json is not valid JSON'];
  }
  if (config === null || typeof config !== 'object' || Array.isArray(config))
    return ['config.json must be a JSON object'];
  const { model_type: type } = config as Json;
  const family = familyOf(type);
  const problems: string[] = [];
  if (typeof type !== 'string') problems.push('config.json has no model_type');
  for (const [key, value] of Object.entries(config as Json)) {
    if (key === 'auto_map' && family?.hasOwnCode) continue;
    const [, refusal] = REFUSED.find(([pattern]) => pattern.test(key)) ?? [];
    if (value !== null && refusal !== undefined) problems.push(`config.json: ${key}: ${refusal}`);
  }
  problems.push(...hfProblems(config as Json, { ...COMMON, ...family?.hf }));
  return [...problems, ...packingProblems(config as HfConfig)];
}

/** Family of a model_type. An unknown type is rejected elsewhere. */
function familyOf(type: unknown): ModelPlugin | undefined {
  return models.find(({ modelTypes }) => (modelTypes as unknown[]).includes(type));
}

function packingProblems(config: HfConfig): string[] {
  try {
    storedQuantizer(config);
    return [];
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return [`config.json: quantization_config: ${error.message}`];
  }
}
