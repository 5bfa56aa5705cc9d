// An answer in progress: the tokens that it has read and generated, and the input of its next forward
// pass.
import {
  DomainError,
  type AnswerTools,
  type GenerateAnswer,
  type GenerateRequest,
  type TokenLogprob,
} from '@graft/contracts';
import { BARE_BASE } from '../nn/batch.js';
import { encodePrompt } from '../data/text/prompt.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { Model } from '../models/model.js';
import { invokedAt } from '../nn/sites/invocation.js';
import type { KvCache } from '../nn/kv-cache.js';
import { virtualTokens } from '../nn/sites/virtual-tokens.js';
import { toolFormat } from './answer-tools.js';
import type { Constraint } from './constrained/constraint.js';
import { idLogprob, openaiLogprob, type IdLogprob } from './logprobs.js';
import { sample } from '../nn/sample.js';
import { TextStream } from '../data/text/text-stream.js';
import { ToolCallReader } from './tool-calls.js';
import { stepTogether } from './step-together.js';
import { truncatedPrompt } from './truncated-prompt.js';

/** Request of the client, and the fields that the trainer adds. */
export interface GenerationRequest extends Omit<GenerateRequest, 'response_format'> {
  /** Token ids to continue, instead of messages or a prompt. */
  readonly promptTokens?: readonly number[];
  /** Id of the attached adapter; null for the base model. */
  readonly run: number | null;
  /** Maximum number of key and value rows, to which `max_tokens` is lowered. */
  readonly mostRows?: number;
  /** Constraint on the answer. The answer is complete when no further token is allowed. */
  readonly constraint?: Constraint | null;
}

export interface Drawn {
  readonly id: number;
  readonly logprob: IdLogprob | null;
}

/** Token whose text has not been sent yet. */
interface Unsaid {
  /** UTF-16 offset in the answer at which the token's text starts. */
  readonly start: number;
  readonly logprob: IdLogprob;
}

/** A base model and the cache of its open answers. */
export interface GenerationBase {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
}

/** Rows that an answer contributes to a forward pass. */
export interface NextRows {
  /** Token ids for the encoder, which reads them once. */
  readonly source: readonly number[];
  readonly tokens: readonly number[];
  readonly position: number;
  readonly handle: number;
  readonly invokedAt: number | null;
  readonly taskId: number;
  readonly whole: number;
}

export class Generation {
  readonly promptTokens: number;
  finishReason: 'stop' | 'length' | null = null;
  readonly run: number;
  /** Ids generated so far, including the end-of-sequence token. */
  readonly ids: number[] = [];
  private readonly handle: number;
  private readonly taskId: number;
  private readonly stream: TextStream;
  private readonly limit: number;
  /** Position from which an invoked adapter acts. */
  private readonly invoked: number | null;
  /** Prompt ids that the encoder has not read yet. Empty for models without an encoder. */
  private source: readonly number[] = [];
  /** Ids whose keys and values are not in the cache yet. */
  private pending: readonly number[];
  private position = 0;
  /** Prompt ids that the decoder reads. */
  private readonly prompt: readonly number[];
  /** Number of pending ids in the current forward pass. */
  private given = 0;
  private unsaid: Unsaid[] = [];
  private readonly calls: ToolCallReader | null;

  /**
   * @param cache cache of the answers that are stepped together
   * @throws DomainError if the prompt is empty or leaves no space for an answer
   */
  constructor(
    private readonly base: GenerationBase,
    private readonly cache: KvCache,
    private readonly request: GenerationRequest,
  ) {
    const { tokenizer, model } = base;
    this.run = request.run ?? BARE_BASE;
    this.taskId = taskOf(model, this.run, request.task_id ?? null);
    // Prompts shared by several sequences need positions that are the same for all of them.
    const most = model.modules.inputs.of(this.run) ? model.fixedRopePositions : model.maxPositions;
    const virtual = virtualTokens(model, this.run);
    this.pending = request.promptTokens ?? promptIds(base, request, most - virtual);
    this.promptTokens = this.pending.length;
    if (this.promptTokens === 0)
      throw new DomainError('invalid_value', 'the prompt is empty', 'messages');
    const read = virtual + this.promptTokens;
    const available = most - read;
    if (available < 1) {
      throw new DomainError(
        'invalid_value',
        `the prompt has ${this.promptTokens} tokens; the model supports ${most} in total`,
        'messages',
      );
    }
    const invocation = model.modules.invocation.of(this.run);
    this.invoked = invocation ? invokedAt(invocation, this.pending) : null;
    if (model.stacks.encoder) {
      this.source = this.pending;
      this.pending = [model.startToken ?? 0];
    }
    this.prompt = this.pending;
    const fits = Math.max(1, (request.mostRows ?? Infinity) - read);
    this.limit = Math.min(request.max_tokens, available, fits);
    this.stream = new TextStream(tokenizer, request.stop);
    this.calls = request.tools ? callReader(tokenizer, request.tools) : null;
    this.handle = cache.open(this.run, this.mostRows);
  }

  get mostTokens(): number {
    return this.limit;
  }

  /** Maximum number of key and value rows in the cache. */
  get mostRows(): number {
    return virtualTokens(this.base.model, this.run) + this.promptTokens + this.limit;
  }

  /** Number of rows that are ready for the next forward pass. */
  get waitingRows(): number {
    return this.source.length + this.pending.length;
  }

  /** Whether all ready rows must go into one forward pass. */
  get isWhole(): boolean {
    return this.source.length > 0;
  }

  get done(): boolean {
    return this.finishReason !== null;
  }

  /** Runs one forward pass for this answer alone. */
  step(): GenerateAnswer {
    return stepTogether(this.base, this.cache, [this])[0] as GenerateAnswer;
  }

  close(): void {
    this.request.constraint?.close();
    this.cache.close(this.handle);
  }

  /** Internal: returns the rows of the next forward pass. @param most maximum number of tokens */
  nextRows(most = Infinity): NextRows {
    const { source, position, handle, invoked, taskId } = this;
    const tokens = this.pending.slice(0, most);
    this.given = tokens.length;
    const whole = position + this.pending.length;
    return { source, tokens, position, handle, invokedAt: invoked, taskId, whole };
  }

  /** Internal: number of this answer's rows in the cache. */
  get heldRows(): number {
    return this.cache.length(this.handle);
  }

  /** Internal: discards the rows of a forward pass that failed. */
  rewind(rows: number): void {
    this.cache.rewind(this.handle, rows);
  }

  /** Internal: whether the forward pass produces a token; false while only part of the prompt was read. */
  get writes(): boolean {
    return this.given === this.pending.length;
  }

  /** Internal: samples the next token. @param logits [1, V] */
  sampleToken(logits: Parameters<typeof sample>[0]): Drawn {
    const { top_logprobs: top, constraint } = this.request;
    const open = constraint ? constraint.held(logits) : logits;
    const id = sample(open, this.request, this.ids.length);
    return { id, logprob: top == null ? null : idLogprob(logits, id, top) };
  }

  /**
   * Returns the entries of `unsaid` that start in the text sent so far; all of them once the answer ended
   * without being truncated.
   */
  private said(): TokenLogprob[] {
    const { stream, unsaid, base } = this;
    const isAll = this.finishReason !== null && !stream.stopped;
    const count = unsaid.findIndex(({ start }) => !isAll && start >= stream.given);
    const said = unsaid.splice(0, count < 0 ? unsaid.length : count);
    return said.map(({ logprob, start }) =>
      openaiLogprob(logprob, start, (id) => base.tokenizer.bytesOf(id)),
    );
  }

  private read(calls: ToolCallReader, text: string): Pick<GenerateAnswer, 'text' | 'tool_calls'> {
    const read = [calls.push(text), ...(this.finishReason === null ? [] : [calls.end()])];
    return {
      text: read.map((one) => one.text).join(''),
      tool_calls: read.flatMap((one) => one.calls),
    };
  }

  /** Maximum sequence length, without virtual tokens, up to which rotations do not depend on the length. */
  private get alike(): number {
    const { model } = this.base;
    return model.fixedRopePositions - virtualTokens(model, this.run);
  }

  /**
   * Makes all rows pending again if the sequence is now longer than the length that they were rotated for.
   */
  private readAnew(): void {
    this.cache.rewind(this.handle, 0);
    this.pending = [...this.prompt, ...this.ids];
    this.position = 0;
  }

  /** Internal: returns a step without new text. */
  idle(): GenerateAnswer {
    return {
      text: '',
      finish_reason: this.finishReason,
      prompt_tokens: this.promptTokens,
      completion_tokens: this.ids.length,
    };
  }

  /** Internal: continues with the sampled token. */
  take(drawn: Drawn | null): GenerateAnswer {
    this.position += this.given;
    this.source = [];
    this.pending = this.pending.slice(this.given);
    if (drawn === null) return this.idle();
    const { id, logprob } = drawn;
    this.ids.push(id);
    this.pending = [id];
    if (this.position === this.alike) this.readAnew();
    const ended = this.base.tokenizer.eosIds.includes(id);
    if (logprob && !ended) this.unsaid.push({ start: this.stream.decoded, logprob });
    let text = ended ? '' : this.stream.push(id);
    const { constraint } = this.request;
    constraint?.accept(id);
    if (ended || this.stream.stopped || constraint?.isComplete) this.finishReason = 'stop';
    else if (this.ids.length >= this.limit) this.finishReason = 'length';
    if (this.finishReason !== null) {
      text += this.stream.end();
      this.close();
    }
    const said = this.calls ? this.read(this.calls, text) : { text };
    return {
      ...said,
      finish_reason: this.finishReason,
      prompt_tokens: this.promptTokens,
      completion_tokens: this.ids.length,
      ...(this.request.top_logprobs != null && { logprobs: this.said() }),
    };
  }
}

/**
 * Returns the task id of a request.
 * @throws DomainError with param `graft.task_ids` if the adapter has no such task, or the request names
 * none of several
 */
function taskOf(model: Model, run: number, asked: number | null): number {
  const tasks = model.modules.tasks.of(run);
  const refuse = (message: string): never => {
    throw new DomainError('invalid_value', `graft.task_ids: ${message}`, 'graft.task_ids');
  };
  if (tasks === undefined)
    return asked === null ? 0 : refuse('this model has no tasks; leave it out');
  const among = `this model was trained for ${tasks} task${tasks === 1 ? '' : 's'}`;
  if (asked === null && tasks > 1) refuse(`${among}: say which, 0 to ${tasks - 1}`);
  if (asked !== null && asked >= tasks)
    refuse(`${among}: expected an integer from 0 to ${tasks - 1}, got ${asked}`);
  return asked ?? 0;
}

const callReader = (tokenizer: Tokenizer, { tools }: AnswerTools): ToolCallReader =>
  new ToolCallReader(
    toolFormat(tokenizer),
    tools.map((tool) => tool.function.name),
  );

/**
 * Returns the prompt ids. An encoder's input ends with the end-of-sequence token, as in training
 * (tasks/seq-2-seq-lm.ts).
 */
function promptIds(
  { model, tokenizer }: GenerationBase,
  request: GenerationRequest,
  context: number,
): number[] {
  const { eosId } = tokenizer;
  const encode = (messages: GenerationRequest['messages']): number[] => {
    const ids = encodePrompt(tokenizer, { ...request, messages });
    const isOpen = ids.length > 0 && ids.at(-1) !== eosId;
    return model.stacks.encoder && eosId !== null && isOpen ? [...ids, eosId] : ids;
  };
  const { messages, truncation, max_tokens: wanted } = request;
  if (!messages || truncation !== 'auto') return encode(messages);
  return truncatedPrompt(messages, context - Math.min(wanted, Math.floor(context / 4)), encode);
}
