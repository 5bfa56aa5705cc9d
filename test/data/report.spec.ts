// Compares the data report at creation with the trainer: the same truncation, token counts and errors.
import type { DomainError } from '@graft/contracts';
import { causalLm, loadExamples, Processor, taskFor, Tokenizer } from '@graft/peft-core';
import { readBaseProcessor, reportData } from '@graft/peft-core/data';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { FileCheck } from '../../apps/api/src/files/rows/file-check.js';
import { heldBytes } from '../../libs/peft-core/src/datasets/held-bytes.js';
import { LengthBound } from '../../libs/peft-core/src/datasets/length-bound.js';
import { writeTinyBase } from '../tiny-base.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-report-'));
const base = writeTinyBase(join(folder, 'base'));
const named = readdirSync(base).map((name) => ({ name, path: join(base, name) }));
const { processor, config } = readBaseProcessor(named);
const { tokenizer } = processor;
afterAll(() => rmSync(folder, { recursive: true }));

const chat = (user: string, assistant: string, extra = {}) => ({
  messages: [
    { role: 'user', content: user },
    { role: 'assistant', content: assistant },
  ],
  ...extra,
});

let files = 0;
function write(records: readonly unknown[]) {
  const path = join(folder, `${files++}.jsonl`);
  writeFileSync(
    path,
    records.map((record) => (record === '' ? '' : JSON.stringify(record))).join('\n'),
  );
  return { path, records: records.filter((record) => record !== '').length };
}

const report = (records: readonly unknown[], maxSeqLen = 60, validation?: readonly unknown[]) =>
  reportData(write(records), validation ? write(validation) : null, processor, {
    task: causalLm,
    taskOptions: {},
    maxSeqLen,
  });

const tokensOf = (
  path: string,
  maxSeqLen: number,
): { tokens: number; supervised: number; cut: number[]; rows: number; bytes: number } => {
  let cut: number[] = [];
  const examples = loadExamples(path, causalLm, processor, {
    taskOptions: {},
    maxSeqLen,
    onCut: (lines) => (cut = [...lines]),
  });
  return {
    tokens: examples.reduce((sum, { tokens }) => sum + tokens.length, 0),
    supervised: examples.reduce(
      (sum, { labels }) => sum + labels.filter((label) => label >= 0).length,
      0,
    ),
    cut,
    rows: Math.max(...examples.map(({ rows }) => rows)),
    bytes: examples.reduce((sum, one) => sum + heldBytes(one), 0),
  };
};

it('reads a base model and its configuration from files in any location', () => {
  expect(config.model_type).toBe('llama');
  expect(tokenizer.encode('abc')).toEqual(Tokenizer.load(base).encode('abc'));
});

it('loads no libtorch', () => {
  const entry = import.meta.resolve('@graft/peft-core/data');
  const script = `
    const { readBaseProcessor } = await import(${JSON.stringify(entry)});
    readBaseProcessor(${JSON.stringify(named)});
    const loaded = process.report.getReport().sharedObjects.filter((path) => /torch|kernels/.test(path));
    console.log(JSON.stringify(loaded)); process.exit(0);`;
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  expect(JSON.parse(out)).toEqual([]);
});

describe('a small file', () => {
  it('is counted token by token, including truncation', () => {
    const records = [chat('hi', 'ho'), '', chat('hi', 'a'.repeat(80)), { text: 'b'.repeat(70) }];
    const { training } = report(records);
    const file = write(records);
    const { tokens, supervised, rows, bytes } = tokensOf(file.path, 60);
    expect(training).toMatchObject({
      examples: 3,
      tokens,
      supervised_tokens: supervised,
      sampled: false,
      longest: 80 + tokenizer.encode('<s>user: hi</s><s>assistant: </s>').length,
      largest_rows: rows,
      memory_bytes: bytes,
      max_seq_len: 60,
      cut: 2,
      cut_lines: [3, 4],
      formats: { messages: 2, text: 1 },
    });
    expect(training.warnings).toEqual([
      '2 of 3 examples of the training file are longer than 60 tokens and will be truncated (lines 3, 4).',
      'The training file mixes formats: 2 of messages, 1 of text.',
    ]);
  });

  it('reads the task of each record if prompts have tasks', () => {
    const records = [0, 1, 0].map((task_ids) => ({ text: 'the same', task_ids }));
    const of = (tasks: number | null, all: readonly object[] = records) =>
      reportData(write(all), null, processor, {
        task: causalLm,
        taskOptions: {},
        maxSeqLen: 60,
        tasks,
      }).training;
    expect(of(null)).toMatchObject({ duplicates: 2, ignored_fields: { task_ids: 3 } });
    expect(of(2)).toMatchObject({ duplicates: 1, ignored_fields: {} });
    const refused = (message: string): DomainError =>
      expect.objectContaining({ code: 'invalid_training_file', message }) as DomainError;
    expect(() => of(1)).toThrow(refused('line 2: "task_ids" is 1, expected 0, as there is 1 task'));
    const file = write([...records, { text: 'of none' }]);
    const missing = refused(
      'line 4: "task_ids" is missing: which task the record is of, 0 to 1, as there are 2 tasks',
    );
    const options = { task: causalLm, taskOptions: {}, maxSeqLen: 60, tasks: 2 };
    expect(() => reportData(file, null, processor, options)).toThrow(missing);
    expect(() => loadExamples(file.path, causalLm, processor, options)).toThrow(missing);
    const examples = loadExamples(write(records).path, causalLm, processor, options);
    expect(examples.map(({ taskId }) => taskId)).toEqual([0, 1, 0]);
  });

  it('is rejected by line if an aLoRA would learn nothing', () => {
    const invocation = tokenizer.encode('Q:');
    const good = [{ prompt: 'a? Q:', completion: 'b' }, { text: 'Q: c' }];
    const options = { task: causalLm, taskOptions: {}, maxSeqLen: 60, invocation };
    const refused = expect.objectContaining({
      code: 'invalid_training_file',
      param: 'training_file',
      message: `lines 2, 4: an aLoRA would learn nothing there, because its invocation tokens (alora_invocation_tokens ${JSON.stringify(invocation)}) do not precede any target; add them to each example, or remove alora_invocation_tokens`,
    }) as DomainError;
    const file = write([good[0], { prompt: 'a?', completion: 'b' }, good[1], { text: 'c' }]);
    expect(() => reportData(file, null, processor, options)).toThrow(refused);
    expect(() => loadExamples(file.path, causalLm, processor, options)).toThrow(refused);
    expect(reportData(write(good), null, processor, options).training.examples).toBe(2);
    expect(loadExamples(write(good).path, causalLm, processor, options)).toHaveLength(2);
  });

  it('checks the invocation tokens of both answers of a pair after truncation', () => {
    const invocation = tokenizer.encode('Q:');
    const of = (task: string, record: object, maxSeqLen = 60) => {
      const found = taskFor(task);
      const taskOptions = found.options.parse({}) as Record<string, unknown>;
      const options = { task: found, taskOptions, maxSeqLen, invocation };
      return () => reportData(write([record, record]), null, processor, options);
    };
    const missing = /^lines 1, 2: an aLoRA would learn nothing there/;
    const pair = { chosen: 'yes', rejected: 'no' };
    for (const task of ['dpo', 'cpo', 'orpo']) {
      expect(of(task, { prompt: 'a Q:', ...pair })).not.toThrow();
      expect(of(task, { prompt: 'a', ...pair })).toThrow(missing);
      expect(of(task, { prompt: 'a', chosen: 'Q: yes', rejected: 'no' })).toThrow(missing);
    }
    expect(of('kto', { prompt: 'a Q:', completion: 'b', label: true })).not.toThrow();
    expect(of('kto', { prompt: 'a', completion: 'b', label: true })).toThrow(missing);
    const late = { prompt: '', completion: `${'a'.repeat(50)} Q: b` };
    expect(of('causal_lm', late)).not.toThrow();
    expect(of('causal_lm', late, 40)).toThrow(missing);
  });

  it('reports that all answers have the same label', () => {
    const task = taskFor('kto');
    const taskOptions = task.options.parse({}) as Record<string, unknown>;
    const of = (labels: readonly boolean[]) =>
      reportData(
        write(labels.map((label, i) => ({ prompt: 'q', completion: `a ${i}`, label }))),
        null,
        processor,
        { task, taskOptions, maxSeqLen: 60 },
      ).training.warnings;
    expect(of([true, false])).toEqual([]);
    expect(of([true, true])).toEqual([
      expect.stringMatching(/^All labels of the training file are true: /),
    ]);
  });

  it('is rejected by line if nothing is left to learn, with the name of the file', () => {
    const lost = chat('a'.repeat(100), 'yes');
    const caught = (work: () => unknown): DomainError => {
      try {
        work();
      } catch (error) {
        return error as DomainError;
      }
      throw new Error('was accepted');
    };
    expect(caught(() => report([chat('a', 'b'), lost, lost]))).toMatchObject({
      code: 'invalid_training_file',
      param: 'training_file',
      message: expect.stringMatching(/^lines 2, 3: the first 60 tokens contain nothing to learn/),
    });
    expect(caught(() => report([chat('a', 'b')], 60, [lost]))).toMatchObject({
      param: 'validation_file',
    });
  });

  it('lists duplicate examples, and validation examples that are in the training data', () => {
    const [a, b, c] = [chat('a', 'b'), chat('b', 'c'), chat('c', 'd')];
    const { training, validation } = report([a, a, b, a], 60, [b, c]);
    expect(training).toMatchObject({ duplicates: 2, overlap: 0 });
    expect(validation).toMatchObject({ examples: 2, duplicates: 0, overlap: 1 });
    expect(training.warnings).toEqual([
      '2 of 4 examples of the training file repeat an earlier one.',
    ]);
    expect(validation?.warnings[0]).toMatch(
      /^1 of 2 examples of the validation file is also in the training file/,
    );
  });

  it('compares examples as training does, like the check of an upload', () => {
    const question = { role: 'user', content: 'a' };
    const answer = { role: 'assistant', content: 'b' };
    const same = [
      { messages: [{ role: 'system', content: 's' }, question, answer] },
      { messages: [{ content: 's', role: 'developer' }, question, answer] },
      { messages: [{ role: 'system', content: [{ type: 'text', text: 's' }] }, question, answer] },
      { messages: [{ role: 'system', content: 's' }, question, answer], parallel_tool_calls: true },
    ];
    const { training, validation } = report(same, 60, [same[1], { prompt: 'a', completion: 'b' }]);
    expect(training).toMatchObject({
      duplicates: 3,
      formats: { messages: 4 },
      ignored_fields: { parallel_tool_calls: 1 },
    });
    expect(validation).toMatchObject({
      overlap: 1,
      formats: { messages: 1, prompt_completion: 1 },
    });
    const check = new FileCheck();
    for (const record of same) check.take(JSON.stringify(record), 100);
    expect(check.end().report).toMatchObject({
      duplicates: training.duplicates,
      formats: training.formats,
      ignored_fields: training.ignored_fields,
    });
  });

  it('lists only the fields that the template does not use', () => {
    const tools = [{ type: 'function', function: { name: 'f', parameters: {} } }];
    const records = [
      chat('a', 'b', { tools }),
      chat('b', 'c', { tools, parallel_tool_calls: true }),
      chat('c', 'd'),
    ];
    expect(report(records).training.ignored_fields).toEqual({ tools: 2, parallel_tool_calls: 1 });
    const template =
      '{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant: {% endif %}';
    const json = readFileSync(join(base, 'tokenizer.json'), 'utf8');
    const using = Tokenizer.load({ tokenizerJson: json, chatTemplate: template });
    const found = reportData(write(records), null, new Processor({ tokenizer: using }), {
      task: causalLm,
      taskOptions: {},
      maxSeqLen: 500,
    });
    expect(found.training.ignored_fields).toEqual({ parallel_tool_calls: 1 });
  });
});

describe('a large file', () => {
  const maxSeqLen = 400;
  // one record in 97 is too long
  const records = Array.from({ length: 3_000 }, (_, i) =>
    chat(`question ${i}`, 'x'.repeat(i % 97 === 5 ? 600 : 20 + ((i * 7) % 60))),
  );

  it('is sampled for totals, but truncation is exact', () => {
    const file = write(records);
    const { training } = reportData(file, null, processor, {
      task: causalLm,
      taskOptions: {},
      maxSeqLen,
    });
    const { tokens, supervised, cut } = tokensOf(file.path, maxSeqLen);
    expect(training).toMatchObject({
      examples: 3_000,
      sampled: true,
      cut: cut.length,
      cut_lines: cut.slice(0, 20),
    });
    expect(cut.length).toBeGreaterThan(20);
    expect(Math.abs(training.tokens / tokens - 1)).toBeLessThan(0.02);
    expect(Math.abs(training.supervised_tokens / supervised - 1)).toBeLessThan(0.03);
  });
});

describe('errors of the template', () => {
  const json = readFileSync(join(base, 'tokenizer.json'), 'utf8');
  const using = (chatTemplate: string): Tokenizer =>
    Tokenizer.load({ tokenizerJson: json, chatTemplate });
  const alternating = using(
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant: {% endif %}",
  );
  // Earlier replies are omitted when others follow.
  const rewriting = using(
    "{% for m in messages %}<s>{{ m.role }}: {% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant: {% endif %}",
  );
  afterAll(() => [alternating, rewriting].forEach((one) => one.dispose()));
  const many = Array.from({ length: 2_400 }, (_, i) => chat(`question ${i}`, 'yes'));
  const twice = { messages: [...chat('a', 'b').messages, ...chat('c', 'd').messages] };
  const unanswered = {
    messages: [{ role: 'user', content: 'a' }, ...chat('c', 'd').messages],
  };
  const looked = (tokenizerToo: Tokenizer, odd: object, renderMs = 1e9) => {
    const file = write([...many.slice(0, 2_033), odd, ...many.slice(2_033)]);
    const options = { task: causalLm, taskOptions: {}, maxSeqLen: 400, renderMs };
    return reportData(file, null, new Processor({ tokenizer: tokenizerToo }), options);
  };

  it('are found in a large file outside the sample', () => {
    expect(() => looked(alternating, unanswered)).toThrow(/^line 2034: .*roles must alternate/);
    expect(() => looked(rewriting, twice)).toThrow(/^line 2034: .*rewrites earlier turns/);
    expect(looked(alternating, twice).training.warnings).toEqual([]);
  });

  it('are reported as unknown for records beyond the time limit', () => {
    const { training } = looked(alternating, unanswered, 0);
    // one record in seven is tokenized
    expect(training.warnings).toEqual([
      'The chat template was not checked on 2,058 of 2,401 examples of the training file, to save time: an example that it rejects fails the job at the start.',
    ]);
  });
});

describe('the bound that avoids tokenizing', () => {
  const templates = join(import.meta.dirname, '../golden/chat');
  const json = readFileSync(join(base, 'tokenizer.json'), 'utf8');
  type Conversations = Parameters<Tokenizer['render']>[0][];
  const conversations = JSON.parse(
    readFileSync(join(templates, 'conversations.json'), 'utf8'),
  ) as Conversations;

  it.each(readdirSync(templates).filter((name) => name !== 'conversations.json'))(
    'holds for %s',
    (name) => {
      const { template, ...tokens } = JSON.parse(readFileSync(join(templates, name), 'utf8')) as {
        template: string;
      };
      const one = Tokenizer.load({
        tokenizerJson: json,
        tokenizerConfig: tokens,
        chatTemplate: template,
      });
      const bound = new LengthBound(one);
      let compared = 0;
      for (const messages of conversations) {
        let text: string;
        try {
          text = one.render(messages);
        } catch {
          continue; // the template rejects it
        }
        const chat = { messages };
        const most = bound.tokens([chat], Buffer.byteLength(JSON.stringify(chat)));
        expect(one.encode(text).length).toBeLessThanOrEqual(most);
        // no more than the frame above
        expect(most).toBeLessThan(4 * Buffer.byteLength(text) + 1_500);
        compared++;
      }
      expect(compared).toBeGreaterThan(2);
      one.dispose();
    },
  );
});
