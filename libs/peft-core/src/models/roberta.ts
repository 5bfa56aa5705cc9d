/**
 * RoBERTa (arXiv:1907.11692), XLM-R (1911.02116) and CamemBERT (1911.03894): BERT's encoder with positions
 * that start after the padding index. The classification head has its own hidden layer instead of a pooler.
 */
import { defineModel } from './model.js';
import { BERT_KEYS, bertEncoder, encoderPaths } from './bert.js';
import { integer, or } from './frame/hf-config.js';

export const roberta = defineModel({
  name: 'roberta',
  title: 'RoBERTa, XLM-R, CamemBERT',
  modelTypes: ['roberta', 'xlm-roberta', 'camembert'],
  hf: { ...BERT_KEYS, pad_token_id: or(integer(0, 1 << 20), 1) },
  options(hf) {
    // row padding_idx belongs to padding; the rows before it are never used
    const offset = hf.pad_token_id + 1;
    return {
      vocabSize: hf.vocab_size,
      encoder: {
        ...bertEncoder(hf),
        maxPositions: hf.max_position_embeddings - offset,
        positionOffset: offset,
      },
    };
  },
  paths: {
    ...encoderPaths('roberta'),
    unread: { inHeadless: ['pooler.dense'] },
    heads: {
      classification: {
        pool: 'first',
        hidden: { path: 'classifier.dense', activation: 'tanh', isStored: false },
        output: 'classifier.out_proj',
        hasBias: true,
      },
      token_classification: { pool: 'each', output: 'classifier', hasBias: true },
      span: { pool: 'each', output: 'qa_outputs', hasBias: true },
    },
  },
});
