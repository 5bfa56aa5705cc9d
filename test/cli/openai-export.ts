// Responses of OpenAI's API for an organization with fine-tuning jobs and evals.
import { chats } from '../../apps/api/test/fixture.js';

type Json = Readonly<Record<string, unknown>>;

const lines = (rows: readonly unknown[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join('');

export const WORDS = ['abc', 'bcd', 'cde'];

const vision = {
  messages: [
    {
      role: 'user',
      content: [{ type: 'image_url', image_url: { url: 'https://example.com/a.png' } }],
    },
    { role: 'assistant', content: 'a cat' },
  ],
};

const preferences = (count: number): string =>
  lines(
    Array.from({ length: count }, (_, n) => ({
      input: { messages: [{ role: 'user', content: `question ${n}` }], tools: [] },
      preferred_output: [{ role: 'assistant', content: `good ${n}` }],
      non_preferred_output: [{ role: 'assistant', content: `bad ${n}` }],
    })),
  );

/** Files by id: name, purpose and content. */
export const CONTENTS: Readonly<
  Record<string, readonly [name: string, purpose: string, content: string]>
> = {
  'file-Train1': ['spam.jsonl', 'fine-tune', chats(12)],
  'file-Valid1': ['spam-valid.jsonl', 'fine-tune', chats(14).split('\n').slice(12).join('\n')],
  'file-Prefs1': ['prefs.jsonl', 'fine-tune', preferences(12)],
  'file-Seen1': ['seen.jsonl', 'fine-tune', `${chats(11)}${JSON.stringify(vision)}\n`],
  'file-Items1': [
    'items.jsonl',
    'evals',
    lines(WORDS.map((word) => ({ item: { word, answer: word.toUpperCase() } }))),
  ],
  'file-Result1': ['step_metrics.csv', 'fine-tune-results', 'step,train_loss\n1,0.5\n'],
};

export const FILES: readonly Json[] = Object.entries(CONTENTS).map(
  ([id, [filename, purpose, content]]) => ({
    object: 'file',
    id,
    purpose,
    filename,
    bytes: Buffer.byteLength(content),
    created_at: 1_700_000_000,
    status: 'processed',
    status_details: null,
  }),
);

const job = (id: string, more: Json): Json => ({
  object: 'fine_tuning.job',
  id,
  model: 'gpt-4o-mini-2024-07-18',
  created_at: 1_700_000_100,
  finished_at: 1_700_000_900,
  fine_tuned_model: null,
  organization_id: 'org-acme',
  result_files: [],
  status: 'succeeded',
  validation_file: null,
  training_file: 'file-Train1',
  hyperparameters: { n_epochs: 3, batch_size: 1, learning_rate_multiplier: 1.8 },
  trained_tokens: 5000,
  error: {},
  user_provided_suffix: null,
  seed: 683058546,
  estimated_finish: null,
  integrations: [],
  metadata: null,
  usage_metrics: null,
  shared_with_openai: false,
  method: {
    type: 'supervised',
    supervised: { hyperparameters: { n_epochs: 3, batch_size: 1, learning_rate_multiplier: 1.8 } },
  },
  ...more,
});

export const TUNED = 'ft:gpt-4o-mini-2024-07-18:acme:spam:Ab12Cd34';

export const JOBS: readonly Json[] = [
  job('ftjob-Spam1', {
    validation_file: 'file-Valid1',
    user_provided_suffix: 'spam',
    fine_tuned_model: TUNED,
    result_files: ['file-Result1'],
    metadata: { team: 'mail' },
  }),
  job('ftjob-Prefs1', {
    training_file: 'file-Prefs1',
    hyperparameters: null,
    method: {
      type: 'dpo',
      dpo: {
        hyperparameters: { n_epochs: 2, batch_size: 2, learning_rate_multiplier: 1, beta: 0.2 },
      },
    },
  }),
  job('ftjob-Rft1', {
    model: 'o4-mini-2025-04-16',
    hyperparameters: null,
    method: {
      type: 'reinforcement',
      reinforcement: {
        grader: { type: 'string_check', name: 'g' },
        hyperparameters: { n_epochs: 1 },
      },
    },
  }),
  job('ftjob-Failed1', { status: 'failed', error: { code: 'x', message: 'y', param: null } }),
];

export const CHECKPOINTS: readonly Json[] = [
  {
    object: 'fine_tuning.job.checkpoint',
    id: 'ftckpt_1',
    created_at: 1_700_000_500,
    fine_tuned_model_checkpoint: `${TUNED}:ckpt-step-12`,
    fine_tuning_job_id: 'ftjob-Spam1',
    metrics: { step: 12, train_loss: 0.4 },
    step_number: 12,
  },
];

const EVAL_SAMPLE = { type: 'object', properties: { output_text: { type: 'string' } } };

export const EVALS: readonly Json[] = [
  {
    object: 'eval',
    id: 'eval_Words1',
    name: 'Words in capitals',
    created_at: 1_700_001_000,
    metadata: { team: 'mail' },
    data_source_config: {
      type: 'custom',
      schema: {
        type: 'object',
        properties: {
          item: {
            type: 'object',
            properties: { word: { type: 'string' }, answer: { type: 'string' } },
            required: ['word', 'answer'],
          },
          sample: EVAL_SAMPLE,
        },
        required: ['item', 'sample'],
      },
    },
    testing_criteria: [
      {
        id: 'same-2eaf2d8d',
        type: 'string_check',
        name: 'same',
        operation: 'eq',
        input: '{{ sample.output_text }}',
        reference: '{{ item.answer }}',
      },
      {
        type: 'text_similarity',
        name: 'near',
        input: '{{sample.output_text}}',
        reference: '{{item.answer}}',
        evaluation_metric: 'cosine',
        pass_threshold: 0.8,
      },
      {
        type: 'score_model',
        name: 'judge',
        model: 'gpt-4o-2024-08-06',
        input: [
          {
            type: 'message',
            role: 'user',
            content: { type: 'input_text', text: 'Grade {{sample.output_text}}' },
          },
        ],
        range: [0, 1],
        pass_threshold: 0.5,
        sampling_params: {
          temperature: 0,
          top_p: null,
          seed: null,
          reasoning_effort: null,
          max_completions_tokens: null,
        },
      },
    ],
  },
  {
    object: 'eval',
    id: 'eval_Logs1',
    name: 'From logs',
    created_at: 1_700_001_001,
    metadata: {},
    data_source_config: { type: 'logs', metadata: { use: 'chat' }, schema: {} },
    testing_criteria: [],
  },
];

const run = (id: string, more: Json): Json => ({
  object: 'eval.run',
  id,
  eval_id: 'eval_Words1',
  name: `run ${id}`,
  created_at: 1_700_002_000,
  status: 'completed',
  model: 'gpt-4o-mini-2024-07-18',
  metadata: {},
  error: null,
  report_url: 'https://platform.openai.com/evaluations/x',
  result_counts: { total: 3, passed: 2, failed: 1, errored: 0 },
  per_model_usage: [],
  per_testing_criteria_results: [],
  ...more,
});

const completionsSource = (model: string): Json => ({
  type: 'completions',
  source: { type: 'file_id', id: 'file-Items1' },
  model,
  input_messages: {
    type: 'template',
    template: [
      { type: 'message', role: 'developer', content: { type: 'input_text', text: 'In capitals.' } },
      { type: 'message', role: 'user', content: { type: 'input_text', text: '{{item.word}}' } },
    ],
  },
  sampling_params: {
    max_completions_tokens: 5,
    temperature: 0,
    seed: 7,
    top_p: 1,
    reasoning_effort: 'low',
  },
});

export const RUNS: readonly Json[] = [
  run('evalrun_First1', { data_source: completionsSource('gpt-4o-mini-2024-07-18') }),
  run('evalrun_Tuned1', { model: TUNED, data_source: completionsSource(TUNED) }),
  run('evalrun_Stored1', {
    data_source: { ...completionsSource('gpt-4o'), source: { type: 'stored_completions' } },
  }),
];

export const OUTPUT_ITEMS: readonly Json[] = WORDS.map((word, n) => ({
  object: 'eval.run.output_item',
  id: `outputitem_${n}`,
  created_at: 1_700_002_100,
  run_id: 'evalrun_First1',
  eval_id: 'eval_Words1',
  status: n === 2 ? 'fail' : 'pass',
  datasource_item_id: n,
  datasource_item: { word, answer: word.toUpperCase() },
  results: [],
  sample: {
    input: [{ role: 'user', content: word }],
    output: [{ role: 'assistant', content: n === 2 ? word : word.toUpperCase() }],
    finish_reason: 'stop',
    model: 'gpt-4o-mini-2024-07-18',
    error: null,
  },
}));
