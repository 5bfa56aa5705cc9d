// Request bodies: the part that Express passes on, and their schemas.
import { DomainError, CreateJob, parseBody } from '@graft/contracts';
import { peftFields, resolveSpec } from '@graft/peft-core/catalog';
import { ChatBody, CompletionBody, plainMessages } from '../../../apps/api/dist/chat/chat-body.js';
import { nestedDeeper } from '../../../apps/api/dist/http/json-body.js';
import { json } from '../mutate.mjs';

/** Parses as http/json-body.ts and the error filter do: UTF-8, limited depth, JSON. */
function bodyOf(bytes) {
  if (nestedDeeper(bytes, 64)) throw new DomainError('invalid_json', 'nested too deep');
  const text = bytes.toString('utf8');
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new DomainError('invalid_json', 'the body is not valid JSON');
  }
}

const sampling = {
  model: 'ft:m',
  max_tokens: 9,
  temperature: 0.5,
  top_p: 0.9,
  seed: 1,
  stop: ['a'],
};
const chats = [
  { ...sampling, stream: true, stream_options: { include_usage: true },
    messages: [{ role: 'system', content: 's' }, { role: 'user', content: [{ type: 'text', text: 'hi' }] }] },
  { model: 'm', messages: [{ role: 'user', content: 'hi' }], n: 1, logprobs: false, tools: [], tool_choice: 'none',
    response_format: { type: 'text' }, metadata: { a: 'b' }, user: 'u', max_completion_tokens: 3, logit_bias: {} },
]; // prettier-ignore
const completions = [
  { ...sampling, prompt: 'Once' },
  {
    model: 'm',
    prompt: 'x',
    n: 1,
    best_of: 1,
    echo: false,
    suffix: null,
    logprobs: null,
    stream: false,
  },
];

const ids = { model: 'base', training_file: 'file-1' };
const jobs = [
  ids,
  { ...ids, validation_file: 'file-2', suffix: 's', seed: 1, metadata: { a: 'b' }, integrations: [],
    hyperparameters: { batch_size: 2, learning_rate_multiplier: 1, n_epochs: 'auto' } },
  { ...ids, method: { type: 'dpo', dpo: { hyperparameters: { beta: 0.1, batch_size: 'auto' } } } },
  { ...ids, peft: { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: ['q_proj', 'v_proj'], lora_dropout: 0.1,
      rank_pattern: { q_proj: 4 }, alpha_pattern: {}, use_dora: false, modules_to_save: ['lm_head'], layers_to_transform: [0] } },
  { ...ids, peft: { peft_type: 'LORA', r: 4, init_lora_weights: 'eva', eva_config: { rho: 1.5, tau: 0.9, whiten: false, use_label_mask: true } } },
  { ...ids, peft: { peft_type: 'LORA', init_lora_weights: 'lora_ga', lora_ga_config: { direction: 'ArB2r', scale: 'stable', stable_gamma: 16 } } },
  { ...ids, peft: { peft_type: 'LORA', init_lora_weights: 'corda', corda_config: { corda_method: 'kpm' }, use_rslora: true } },
  { ...ids, peft: { peft_type: 'LORA', init_lora_weights: 'loftq', loftq_config: { loftq_bits: 4, loftq_iter: 2 }, alora_invocation_tokens: null } },
  { ...ids, peft: { peft_type: 'LOHA', r: 4, alpha: 4, target_modules: 'all-linear' } },
  { ...ids, peft: { peft_type: 'IA3', target_modules: '.*_proj', feedforward_modules: [] } },
  { ...ids, peft: { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 4, prompt_tuning_init: 'TEXT', prompt_tuning_init_text: 'x' } },
  { ...ids, peft: { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 4, prefix_projection: true, encoder_hidden_size: 8 } },
  { ...ids, peft: { peft_type: 'P_TUNING', num_virtual_tokens: 4, encoder_reparameterization_type: 'MLP' } },
  { ...ids, peft: null, graft: { task: 'causal_lm', learning_rate: 1e-3, max_steps: 5, gradient_accumulation_steps: 2,
      warmup_ratio: 0.1, weight_decay: 0.1, max_grad_norm: 1, lr_scheduler_type: 'cosine', pool: 'default', priority: 5,
      base_dtype: 'bf16', quantization: null, init_adapter: 'dir:/x', task_options: {} } },
]; // prettier-ignore
const peftKeys = peftFields().map((path) => path.slice('peft.'.length));
const graftKeys = Object.keys(CreateJob.shape.graft.unwrap().unwrap().shape);

export const targets = [
  {
    name: 'chat body',
    make: json(chats, { keys: Object.keys(ChatBody.shape) }),
    run: (bytes) => {
      const body = parseBody(ChatBody, bodyOf(bytes));
      return [body, plainMessages(body.messages)];
    },
  },
  {
    name: 'completion body',
    make: json(completions, { keys: Object.keys(CompletionBody.shape) }),
    run: (bytes) => parseBody(CompletionBody, bodyOf(bytes)),
  },
  {
    name: 'create-job body',
    make: json(jobs, {
      keys: [...peftKeys, ...graftKeys],
      values: ['auto', 'LORA', 'dpo', 'llama', 'nf4'],
    }),
    run: (bytes, r) => {
      const body = parseBody(CreateJob, bodyOf(bytes), peftFields);
      const modelType = r.pick(['llama', 'gpt2', 't5', undefined]);
      return [body, resolveSpec(body, { trainingRecords: 10, ...(modelType && { modelType }) })];
    },
  },
];
