import { expect, it } from 'vitest';
import { footprintOf } from '../methods/frame/base-footprint.js';
import type { HfConfig } from '../nn/hf-files.js';
import { outlineOf } from './registry.js';

// configs of FacebookAI/roberta-base and distilbert/distilbert-base-uncased
const roberta: HfConfig = {
  model_type: 'roberta',
  vocab_size: 50_265,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  max_position_embeddings: 514,
  type_vocab_size: 1,
  layer_norm_eps: 1e-5,
  pad_token_id: 1,
};
const distilbert: HfConfig = {
  model_type: 'distilbert',
  vocab_size: 30_522,
  dim: 768,
  n_layers: 6,
  n_heads: 12,
  hidden_dim: 3072,
};
const head = { kind: 'classification', outputs: 2 } as const;

// Transformers 5.24: RobertaForSequenceClassification, DistilBertForSequenceClassification
it.each([
  ['roberta', roberta, 124_647_170, 592_130],
  ['distilbert', distilbert, 66_955_010, 592_130],
] as const)(
  '%s with its head has the parameter counts of Transformers',
  (_, config, parameters, own) => {
    const peft = { peft_type: 'LORA', r: 1 };
    const { totalParameters, trainableParameters } = footprintOf(peft, config, false, head);
    expect(totalParameters).toBe(parameters);
    const layers = outlineOf(config).layers;
    expect(trainableParameters).toBe(own + layers * 2 * 2 * 768);
  },
);

it('starts the positions of RoBERTa after the padding index', () => {
  expect(outlineOf(roberta).maxPositions).toBe(512);
  expect(outlineOf({ ...roberta, pad_token_id: null }).maxPositions).toBe(512);
});
