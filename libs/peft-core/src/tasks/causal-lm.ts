/**
 * Next-token prediction:
 *   loss = -1/N Σ log p(y_i | y_<i)     over the N supervised tokens of a whole optimizer step
 * Supervised tokens are those that the model itself generates. In chats: the tokens that the template adds
 * for an assistant turn after its generation prompt (data/text/chat-spans.ts). In prompts with
 * completions: the completion and the end-of-text token. In plain text: all tokens.
 */
import { z } from 'zod';
import { chatSpans } from '../data/text/chat-spans.js';
import type { ChatMessage } from '../data/text/chat-template.js';
import { packBatch } from './batches/pack.js';
import { packShared } from './batches/pack-shared.js';
import { countLabels, cut, tokenize, UNSUPERVISED } from '../data/text/supervised-text.js';
import type { SupervisedText, TokenSequence } from '../data/text/supervised-text.js';
import { TOKEN_METRICS, tokenChance, tokenSums } from './losses/next-token.js';
import { checkText, missingFormat, unknownKey } from './records/record-checks.js';
import {
  chatFacts,
  checkChat,
  checkPair,
  checkTaskIds,
  MESSAGES,
  pairFacts,
  PROMPT_COMPLETION,
  TASK_IDS,
  unreadIds,
} from './records/supervised-records.js';
import { defineTask, type Example } from './task.js';

const FORMATS = 'one of {"messages"}, {"prompt","completion"} or {"text"}';

/** Text with its task id, if the record has one. */
type Prepared = SupervisedText & { readonly taskId?: number };

export type TokenExample = Example & TokenSequence;

export const causalLm = defineTask({
  name: 'causal_lm',
  title: 'Text generation (SFT)',
  summary: 'Learns to write assistant turns of chats, completions of prompts, or plain text.',
  peft: { taskType: 'CAUSAL_LM', models: 'CausalLM', pipeline: 'text-generation' },
  method: 'supervised',
  gives: ['learns_prompts', 'task_ids', 'learns_beside'],
  options: z.strictObject({}),
  records: [
    MESSAGES,
    PROMPT_COMPLETION,
    {
      name: 'text',
      keys: ['text'],
      more: [TASK_IDS],
      cells: { [TASK_IDS]: 'integer' },
      nouns: ['plain text', 'plain texts'],
      line: '{"text":"…"}',
      learnt: ['text'],
    },
  ],
  check(record) {
    const has = (key: string): boolean => Object.hasOwn(record, key);
    const kinds = [has('messages'), has('prompt') || has('completion'), has('text')];
    const found = kinds.filter(Boolean).length;
    if (found !== 1)
      return found === 0
        ? missingFormat(record, FORMATS)
        : `a record must be ${FORMATS}, not a mix of them`;
    if (kinds[0]) return checkChat(record);
    if (kinds[1]) return checkPair(record);
    return (
      unknownKey(record, ['text', TASK_IDS]) ??
      checkText('text', record['text']) ??
      checkTaskIds(record)
    );
  },
  facts(record) {
    if (record['messages'] !== undefined) return chatFacts(record);
    if (record['prompt'] !== undefined) return pairFacts(record);
    const identity = [record['text'] as string];
    return { format: 'text', ignored: unreadIds(record), identity, chats: [] };
  },
  prepare({ messages, tools, prompt, completion, text, [TASK_IDS]: ids }, { tokenizer }): Prepared {
    const taskId = ids === undefined ? {} : { taskId: ids as number };
    const plain = { special: true, ends: true, ...taskId };
    if (messages !== undefined) {
      const chat = chatSpans(messages as ChatMessage[], tokenizer, tools);
      return { ...chat, ...plain, special: false, ends: false };
    }
    if (prompt === undefined) return { text: text as string, spans: [[0, Infinity]], ...plain };
    const [before, after] = [prompt as string, completion as string];
    return { text: before + after, spans: [[before.length, Infinity]], ...plain };
  },
  encode(prepared, { tokenizer }, { maxSeqLen }) {
    return tokenize(prepared, tokenizer).map((whole, i) => {
      const { taskId } = prepared[i] as Prepared;
      const sequence = { ...cut(whole, maxSeqLen), ...(taskId !== undefined && { taskId }) };
      const { length } = sequence.tokens;
      const supervised = countLabels(sequence);
      return {
        example: { ...sequence, rows: length, tokenCount: length } satisfies TokenExample,
        longest: whole.tokens.length,
        supervised,
        lost: supervised === 0 && sequence.first === UNSUPERVISED,
      };
    });
  },
  sequences: (example) => [example],
  units: (example, promptTargets) =>
    countLabels(example) +
    (promptTargets === null ? 0 : promptTargets + Number(example.first !== UNSUPERVISED)),
  supervisedRows({ labels, first }) {
    const isLearnt = (row: number): boolean =>
      (row === 0 ? first : (labels[row - 1] as number)) !== UNSUPERVISED;
    return [...labels.keys()].filter(isLearnt);
  },
  loss(model, shares, ctx, scales) {
    const packed = ctx.rowsApart ? packBatch(shares) : packShared(model, shares);
    const { decoder } = model.forward(packed.batch, ctx);
    return tokenSums(model, decoder, packed, ctx, scales);
  },
  chance: tokenChance,
  metrics: TOKEN_METRICS,
});
