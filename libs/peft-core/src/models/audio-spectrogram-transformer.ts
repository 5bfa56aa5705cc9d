/**
 * Audio Spectrogram Transformer (arXiv:2104.01778): ViT on overlapping patches of a spectrogram, preceded by
 * a class token and a distillation token. A task's head reads the normed mean of both.
 */
import type { StackPaths } from '../nn/outline/model-paths.js';
import { spectrogramPatches } from '../nn/front-ends/spectrogram-patches.js';
import { defineModel } from './model.js';
import { or, SIZE } from './frame/hf-config.js';
import { VIT_KEYS, vitAliases, vitOptions, vitPaths } from './vit.js';

const PREFIX = 'audio_spectrogram_transformer';
const embeddings = (name: string): string => `${PREFIX}.embeddings.${name}`;
const TOKENS = ['cls_token', 'distillation_token'].map(embeddings);

const { image_size: _, num_channels: __, ...shared } = VIT_KEYS;
const paths = vitPaths(PREFIX, []);

export const audioSpectrogramTransformer = defineModel({
  name: 'audio-spectrogram-transformer',
  title: 'Audio Spectrogram Transformer',
  modelTypes: ['audio-spectrogram-transformer'],
  hf: {
    ...shared,
    patch_size: or(SIZE, 16),
    frequency_stride: or(SIZE, 10),
    time_stride: or(SIZE, 10),
    max_length: or(SIZE, 1024),
    num_mel_bins: or(SIZE, 128),
  },
  options(hf) {
    const spectrogram = {
      frames: hf.max_length,
      mel: hf.num_mel_bins,
      patch: hf.patch_size,
      strides: [hf.frequency_stride, hf.time_stride] as [number, number],
    };
    const alike = vitOptions({ ...hf, image_size: hf.patch_size, num_channels: 1 }, 0);
    const { encoder } = alike;
    return {
      ...alike,
      encoder: encoder && {
        ...encoder,
        frontEnd: { kind: 'spectrogram_patches', ...spectrogram },
        maxPositions: TOKENS.length + spectrogramPatches(spectrogram),
      },
    };
  },
  paths: {
    encoder: {
      ...(paths.encoder as StackPaths),
      frontEnd: {
        kind: 'spectrogram_patches',
        projection: embeddings('patch_embeddings.projection'),
        tokens: TOKENS,
        positions: embeddings('position_embeddings'),
      },
    },
    heads: {
      classification: {
        pool: 'first_two',
        norm: 'classifier.layernorm',
        output: 'classifier.dense',
        hasBias: true,
      },
    },
  },
  aliases: vitAliases(PREFIX),
});
