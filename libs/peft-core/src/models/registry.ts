import { DomainError } from '@graft/contracts';
import type { Outline } from '../nn/outline.js';
import { registry } from '../plugin.js';
import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import type { BuildOptions, HfConfig, Model, ModelPlugin, Tensors } from './model.js';

/** Every model family there is. Derivatives under other names are entries of `modelTypes`. */
export const models: readonly ModelPlugin[] = [llama, gpt2] as ModelPlugin[];

const byType = registry('model type', models, ({ modelTypes }) => modelTypes);

/** The family of a config.json. @throws DomainError invalid_model when there is none */
export function forConfig(config: HfConfig): ModelPlugin {
  return forType(config.model_type);
}

/** The family of config.json's model_type. @throws DomainError invalid_model when there is none */
export function forType(modelType: string): ModelPlugin {
  const found = byType.get(modelType);
  if (found) return found;
  const known = [...byType.keys()].join(', ');
  throw new DomainError(
    'invalid_model',
    `model_type "${modelType}" is unknown; there are: ${known}`,
    'model',
  );
}

/** The modules of a config.json's model by their shapes. @throws DomainError invalid_model as `buildModel` does */
export function outlineOf(config: HfConfig): Outline {
  const plugin = forConfig(config);
  return plugin.outline(checkedOptions(plugin, config));
}

/**
 * Builds a frozen model on weights by their Hugging Face names.
 * @throws DomainError invalid_model when the config or the weights do not describe a model of its family
 */
export function buildModel(config: HfConfig, tensors: Tensors, build: BuildOptions): Model {
  const plugin = forConfig(config);
  return plugin.build(checkedOptions(plugin, config), config, tensors, build);
}

function checkedOptions(plugin: ModelPlugin, config: HfConfig): unknown {
  const parsed = plugin.options.safeParse(plugin.fromHf(config));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const message = `config.json: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`;
  throw new DomainError('invalid_model', message, 'model');
}
