/**
 * Sequence to sequence, arXiv:1910.10683 (T5): an encoder reads the source x; a decoder generates the
 * target y from its start token.
 *   loss = -1/N Σ log p(y_i | x, y_<i)     over the N target tokens of a whole optimizer step
 * The source is the prompt, or a chat up to its last assistant turn. The target is the completion, or that
 * turn. Both end with the end-of-text token.
 */
import { z } from 'zod';
import { messageText } from '../data/text/messages.js';
import type { ChatMessage } from '../data/text/chat-template.js';
import { packRows } from './batches/pack.js';
import { tokenize } from '../data/text/supervised-text.js';
import type { SupervisedText } from '../data/text/supervised-text.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { TOKEN_METRICS, tokenChance, targetSums } from './losses/next-token.js';
import { missingFormat } from './records/record-checks.js';
import {
  chatFacts,
  checkChat,
  checkPair,
  MESSAGES,
  pairFacts,
  PROMPT_COMPLETION,
} from './records/supervised-records.js';
import { defineTask, type Example } from './task.js';

interface SequencePair extends Example {
  readonly source: Int32Array;
  readonly target: Int32Array;
}

type Texts = readonly [source: SupervisedText, target: SupervisedText];

const FORMATS = 'one of {"messages"} or {"prompt","completion"}';

export const seq2SeqLm = defineTask<SequencePair, Texts, Record<string, never>>({
  name: 'seq_2_seq_lm',
  title: 'Sequence to sequence',
  summary: 'Learns to answer: the completion of a prompt, or the last assistant turn of a chat.',
  peft: { taskType: 'SEQ_2_SEQ_LM', models: 'Seq2SeqLM', pipeline: 'text2text-generation' },
  method: 'supervised',
  stacks: ['encoder_decoder'],
  options: z.strictObject({}),
  records: [MESSAGES, PROMPT_COMPLETION],
  check(record) {
    const has = (key: string): boolean => Object.hasOwn(record, key);
    const [isChat, isPair] = [has('messages'), has('prompt') || has('completion')];
    if (isChat && isPair) return `a record must be ${FORMATS}, not a mix of them`;
    if (isChat) return checkChat(record) ?? checkTurns(record['messages'] as ChatMessage[]);
    if (!isPair) return missingFormat(record, FORMATS);
    const wrong = checkPair(record);
    return (
      wrong ?? (record['prompt'] === '' ? '"prompt" is empty: there is nothing to read' : null)
    );
  },
  facts: (record) => (record['messages'] === undefined ? pairFacts(record) : chatFacts(record)),
  prepare({ messages, tools, prompt, completion }, { tokenizer }) {
    if (messages === undefined) return [whole(prompt as string), whole(completion as string)];
    const turns = messages as readonly ChatMessage[];
    const answer = messageText(turns.at(-1)?.content) ?? '';
    return [source(turns.slice(0, -1), tokenizer, tools), whole(answer)];
  },
  encode(prepared, { tokenizer }, { maxSeqLen }) {
    const tokens = tokenize(prepared.flat(), tokenizer).map((text) => text.tokens);
    return prepared.map((_, i) => {
      const both = tokens.slice(2 * i, 2 * i + 2);
      const [from, to] = both.map((ids) => ids.slice(0, maxSeqLen)) as [Int32Array, Int32Array];
      // A truncated source keeps its end token, as in Transformers' tokenizers; a truncated target has none.
      const last = both[0]?.at(-1) ?? null;
      if (last !== null && last === tokenizer.eosId) from[from.length - 1] = last;
      const tokenCount = from.length + to.length;
      return {
        example: { source: from, target: to, tokenCount, rows: tokenCount },
        longest: Math.max(...both.map(({ length }) => length)),
        supervised: to.length,
        lost: to.length === 0 || from.length === 0,
      };
    });
  },
  units: ({ target }) => target.length,
  loss(model, shares, ctx, scales) {
    const encoder = packRows(
      shares.flatMap(({ run, examples }) =>
        examples.map((example) => ({ run, tokens: example.source })),
      ),
    );
    return targetSums(model, encoder, shares, ctx, scales);
  },
  chance: tokenChance,
  metrics: TOKEN_METRICS,
});

function checkTurns(messages: readonly ChatMessage[]): string | null {
  const last = messages.at(-1);
  if (last?.role !== 'assistant') return '"messages" must end with an assistant message';
  if (last['weight'] === 0)
    return 'the last assistant message has weight 0: there is nothing to learn';
  if (!messageText(last.content))
    return 'the last assistant message has no text: there is nothing to learn';
  return messages.length === 1 ? '"messages" must have a message before the answer' : null;
}

/** Text with the tokenizer's special tokens and the end-of-text token. */
const whole = (text: string): SupervisedText => ({
  text,
  spans: [[0, Infinity]],
  special: true,
  ends: true,
});

/** Encoder input of a chat, rendered by the base model's template, which adds its own special tokens. */
const source = (
  messages: readonly ChatMessage[],
  tokenizer: Tokenizer,
  tools: unknown,
): SupervisedText => ({
  ...whole(tokenizer.render(messages, { addGenerationPrompt: true, tools })),
  special: false,
});
