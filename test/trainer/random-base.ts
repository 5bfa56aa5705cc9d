// A LLaMA or Gemma 2 of any size with random weights and a tokenizer of one token per character. Its memory is real.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { counterNormal, mapSafetensors, mul, tidy, to, type Tensor } from '@graft/kernels';
import { writeSafetensors } from '@graft/peft-core';
import { writeTinyBase } from '../tiny-base.js';
import { writeTinyAudioBase } from '../tiny-audio.js';

export interface Sizes {
  readonly hidden: number;
  readonly inner: number;
  readonly layers: number;
  /** Whether scores are capped as in Gemma 2. */
  readonly capped?: boolean;
  /** Number of experts per layer, as in Mixtral. */
  readonly experts?: number;
}

/** Names of the up, gate and down projections of each expert. */
const feedForwards = (experts: number): (readonly [string, string, string])[] =>
  experts === 0
    ? [['mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj']]
    : Array.from({ length: experts }, (_, e) => {
        const at = `block_sparse_moe.experts.${e}`;
        return [`${at}.w1`, `${at}.w3`, `${at}.w2`] as const;
      });

/** Writes the folder and returns it. */
export function writeRandomBase(
  dir: string,
  { hidden, inner, layers, capped = false, experts = 0 }: Sizes,
): string {
  writeTinyBase(dir);
  const path = join(dir, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  const [heads, kvHeads] = [hidden / 32, hidden / 64];
  const keys = kvHeads * 32;
  const changed = {
    ...config,
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: 32,
    max_position_embeddings: 8192,
    tie_word_embeddings: false,
    ...(experts > 0 && { model_type: 'mixtral', num_local_experts: experts }),
    ...(capped && { model_type: 'gemma2', sliding_window: null }),
  };
  writeFileSync(path, JSON.stringify(changed));
  const shapes: Record<string, readonly number[]> = {
    'model.embed_tokens.weight': [96, hidden],
    'lm_head.weight': [96, hidden],
    'model.norm.weight': [hidden],
  };
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    const around = ['pre_feedforward_layernorm', 'post_feedforward_layernorm'];
    const norms = ['input_layernorm', 'post_attention_layernorm', ...(capped ? around : [])];
    for (const name of norms) shapes[`${at}.${name}.weight`] = [hidden];
    shapes[`${at}.self_attn.q_proj.weight`] = [hidden, hidden];
    shapes[`${at}.self_attn.k_proj.weight`] = [keys, hidden];
    shapes[`${at}.self_attn.v_proj.weight`] = [keys, hidden];
    shapes[`${at}.self_attn.o_proj.weight`] = [hidden, hidden];
    if (experts > 0) shapes[`${at}.block_sparse_moe.gate.weight`] = [experts, hidden];
    for (const [rise, other, fall] of feedForwards(experts)) {
      shapes[`${at}.${rise}.weight`] = [inner, hidden];
      shapes[`${at}.${other}.weight`] = [inner, hidden];
      shapes[`${at}.${fall}.weight`] = [hidden, inner];
    }
  }
  tidy(() => {
    const tensors = new Map<string, Tensor>();
    Object.entries(shapes).forEach(([name, shape], site) => {
      const values = mul(counterNormal(shape, { seed: 1, step: 0, site }), 0.02);
      tensors.set(name, to(values, 'bf16'));
    });
    writeSafetensors(join(dir, 'model.safetensors'), tensors);
  });
  return dir;
}

/** Writes a tiny wav2vec 2.0 whose first convolution has as many channels as the real one. Returns the folder. */
export function writeWideAudioBase(dir: string, channels = 512): string {
  writeTinyAudioBase(dir, 'wav2vec2', { conv_dim: [channels, 8, 10] });
  const file = join(dir, 'model.safetensors');
  tidy(() => {
    const tensors = new Map(mapSafetensors(file).tensors);
    for (const [site, [name, shape]] of Object.entries({
      'conv_layers.0.conv.weight': [channels, 1, 5],
      'conv_layers.0.layer_norm.weight': [channels],
      'conv_layers.0.layer_norm.bias': [channels],
      'conv_layers.1.conv.weight': [8, channels, 3],
    }).entries())
      tensors.set(
        `feature_extractor.${name}`,
        mul(counterNormal(shape, { seed: 1, step: 0, site }), 0.02),
      );
    writeSafetensors(file, tensors);
  });
  return dir;
}
