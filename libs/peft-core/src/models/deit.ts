/**
 * DeiT (arXiv:2012.12877): ViT with a distillation token before the patches, in addition to the class token.
 * A task's head reads only the class token, as in Transformers' DeiTForImageClassification.
 */
import { defineModel } from './model.js';
import { VIT_KEYS, vitAliases, vitOptions, vitPaths } from './vit.js';

export const deit = defineModel({
  name: 'deit',
  title: 'DeiT',
  modelTypes: ['deit'],
  hf: VIT_KEYS,
  options: (hf) => vitOptions(hf, 2),
  paths: vitPaths('deit', ['cls_token', 'distillation_token']),
  aliases: vitAliases('deit'),
});
