/**
 * DINOv2 with registers (arXiv:2309.16588): additional learned tokens between the class token and the
 * patches, which attention uses for global information. A task's head ignores them.
 */
import { defineModel } from './model.js';
import { DINOV2_KEYS, dinov2Aliases, dinov2Options, dinov2Paths } from './dinov2.js';
import { integer, or } from './frame/hf-config.js';

export const dinov2WithRegisters = defineModel({
  name: 'dinov2_with_registers',
  title: 'DINOv2 with registers',
  modelTypes: ['dinov2_with_registers'],
  hf: { ...DINOV2_KEYS, num_register_tokens: or(integer(0, 64), 4) },
  options: (hf) =>
    dinov2Options(hf, { registers: hf.num_register_tokens, interpolation: 'bicubic_antialiased' }),
  paths: dinov2Paths('dinov2_with_registers'),
  aliases: dinov2Aliases('dinov2_with_registers'),
});
