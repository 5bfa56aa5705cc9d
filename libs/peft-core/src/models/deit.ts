/**
 * DeiT (arXiv:2012.12877): ViT with a second token before the patches, which a teacher was imitated by. The head of a task
 * reads that of the class, as transformers' DeiTForImageClassification does.
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
