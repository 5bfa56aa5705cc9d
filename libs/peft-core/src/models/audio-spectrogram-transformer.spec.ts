import { expect, it } from 'vitest';
import { footprintOf } from '../catalog.js';
import { outlineOf } from './registry.js';

const base = {
  model_type: 'audio-spectrogram-transformer',
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
};

it('has the parameters of ast-finetuned-audioset-10-10-0.4593, and those of a head', () => {
  const peft = { peft_type: 'LORA', target_modules: ['q_proj'] };
  expect(footprintOf(peft, base).totalParameters).toBe(86_187_264);
  const head = { kind: 'classification', outputs: 527 } as const;
  const classifier = 2 * 768 + 768 * 527 + 527;
  expect(footprintOf(peft, base, false, head).totalParameters).toBe(86_187_264 + classifier);
});

it('reads ten seconds as 12 × 101 patches after two tokens', () => {
  const outline = outlineOf(base);
  expect([outline.inputKind, outline.maxPositions]).toEqual(['audio', 1214]);
  expect(outline.inputRows([1024, 128])).toBe(1214);
  expect(() => outline.inputRows([128, 1024])).toThrow(
    'expected a spectrogram of 1024 × 128 (frames, mel), got 128 × 1024',
  );
});
