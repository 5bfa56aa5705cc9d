/** SmolLM3: LLaMA without rotary embeddings in some layers, by default every fourth (arXiv:2501.18795). */
import { DomainError } from '@graft/contracts';
import { shown } from '../data/json-scan.js';
import { defineModel } from './model.js';
import {
  flag,
  flags,
  HEADS,
  LAYERS,
  nullable,
  optional,
  or,
  POSITIONS,
  words,
} from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';
import { LLAMA_KEYS, llamaDecoder, llamaGguf, llamaPaths } from './llama.js';

const hf = {
  ...LLAMA_KEYS,
  num_key_value_heads: nullable(HEADS),
  max_position_embeddings: or(POSITIONS, 32_768),
  tie_word_embeddings: or(flag, true),
  /** 1 for each layer with rotary embeddings, else 0. */
  no_rope_layers: optional(flags),
  no_rope_layer_interval: or(LAYERS, 4),
  use_sliding_window: or(flag, false),
  sliding_window: optional(POSITIONS),
  layer_types: optional(words),
};
type Config = HfValues<typeof hf>;

export const smollm3 = defineModel({
  name: 'smollm3',
  title: 'SmolLM3',
  modelTypes: ['smollm3'],
  hf,
  options(config) {
    const { num_key_value_heads: kvHeads, rope_theta: theta } = config;
    const { rope, ...decoder } = llamaDecoder({
      ...config,
      num_key_value_heads: kvHeads === undefined ? 4 : kvHeads,
      rope_theta: theta ?? 2e6,
    });
    const rotates = rotatingLayers(config);
    return {
      vocabSize: config.vocab_size,
      decoder: {
        ...decoder,
        layerRopes: rotates.map((isRotating) => (isRotating ? rope : null)),
        windows: windowsOf(config, rotates),
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: llamaPaths,
  gguf: [
    llamaGguf('smollm3', 'SmolLM3ForCausalLM', true, {
      modelTypes: ['smollm3'],
      fields({ decoder }) {
        const isUsual = decoder?.layerRopes?.every((rope, i) => (rope === null) === (i % 4 === 3));
        if (isUsual) return {};
        const message =
          'llama.cpp applies rotary embeddings to all but every fourth layer of SmolLM3, but no_rope_layers of this model differs';
        throw new DomainError('unsupported', message, 'model');
      },
    }),
  ],
});

function rotatingLayers(config: Config): boolean[] {
  const { no_rope_layers: given, no_rope_layer_interval: interval } = config;
  const layers = config.num_hidden_layers;
  if (!given) return Array.from({ length: layers }, (_, layer) => (layer + 1) % interval !== 0);
  // the list may be longer than the number of layers
  if (given.length >= layers) return given.slice(0, layers).map((flag) => flag === 1);
  const message = `config.json: no_rope_layers must have at least ${layers} entries, got ${given.length}`;
  throw new DomainError('invalid_model', message, 'model');
}

/**
 * Returns the window of each layer. Without layer_types, layers without rotary embeddings have it, if it is
 * enabled.
 */
function windowsOf(config: Config, rotates: readonly boolean[]): (number | null)[] {
  const { sliding_window: width, use_sliding_window: isOn, layer_types: types } = config;
  if (!types) return rotates.map((isRotating) => (isOn && !isRotating ? width : null));
  return types.map((type) => {
    if (type === 'full_attention') return null;
    if (type === 'sliding_attention' && width !== null) return width;
    const message = `config.json: layer_types has ${shown(type)} with sliding_window ${shown(width)}; supported: full_attention, or sliding_attention with a window`;
    throw new DomainError('unsupported', message, 'model');
  });
}
