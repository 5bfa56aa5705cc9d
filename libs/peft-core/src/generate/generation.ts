// An answer in the making. Each step is one forward of the sequences that are open (the whole prompt at
// first, then a token each), so that a trainer can answer chats between training steps.
import { DomainError } from '@graft/contracts';
import { narrow, noGrad, tidy } from '@graft/kernels';
import { runRows, type PackedBatch, type Sequence } from '../batch.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Model } from '../models/model.js';
import type { KvCache } from '../nn/kv-cache.js';
import { virtualTokens } from '../train/virtual-tokens.js';
import { sample, type Sampling } from './sample.js';
import { TextStream } from './text-stream.js';

export interface GenerationRequest extends Sampling {
  readonly messages: readonly { readonly role: string; readonly content: string }[] | null;
  /** Text to continue, where there are no messages. */
  readonly prompt: string | null;
  /** Token ids to continue, instead of either. */
  readonly promptTokens?: readonly number[];
  /** Id under which an adapter is attached; null = the base. */
  readonly run: number | null;
  readonly maxTokens: number;
  readonly stop: readonly string[];
}

export interface GenerationStep {
  /** New text; may be empty. */
  readonly text: string;
  readonly finishReason: 'stop' | 'length' | null;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** A base and what its open answers have computed so far. */
export interface GenerationBase {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
}

/** A run id that no adapter is attached under. */
export const BARE_BASE = -1;

export class Generation {
  readonly promptTokens: number;
  finishReason: 'stop' | 'length' | null = null;
  readonly run: number;
  /** Ids generated so far, the end-of-sequence token included. */
  readonly ids: number[] = [];
  private readonly handle: number;
  private readonly stream: TextStream;
  private readonly limit: number;
  /** Ids whose keys and values are not in the cache yet. */
  private pending: readonly number[];
  private position = 0;

  /**
   * @param cache shared by the answers that are stepped together
   * @throws DomainError when the prompt is empty or leaves no room for an answer
   */
  constructor(
    private readonly base: GenerationBase,
    private readonly cache: KvCache,
    private readonly request: GenerationRequest,
  ) {
    const { tokenizer, model } = base;
    this.run = request.run ?? BARE_BASE;
    this.pending = request.promptTokens ?? encodePrompt(tokenizer, request);
    this.promptTokens = this.pending.length;
    if (this.promptTokens === 0)
      throw new DomainError('invalid_value', 'the prompt is empty', 'messages');
    const room = model.maxPositions - virtualTokens(model, this.run) - this.promptTokens;
    if (room < 1) {
      throw new DomainError(
        'invalid_value',
        `the prompt has ${this.promptTokens} tokens; the model takes ${model.maxPositions} in all`,
        'messages',
      );
    }
    this.limit = Math.min(request.maxTokens, room);
    this.stream = new TextStream(tokenizer, request.stop);
    this.handle = cache.open(this.run);
  }

  get done(): boolean {
    return this.finishReason !== null;
  }

  /** One forward for this answer alone. */
  step(): GenerationStep {
    return stepTogether(this.base, this.cache, [this])[0] as GenerationStep;
  }

  close(): void {
    this.cache.close(this.handle);
  }

  /** Internal: rows of the next forward. */
  next(): { tokens: readonly number[]; position: number; handle: number } {
    return { tokens: this.pending, position: this.position, handle: this.handle };
  }

  /** Internal: takes the logits of the last row. */
  take(logits: Parameters<typeof sample>[0]): GenerationStep {
    this.position += this.pending.length;
    const id = sample(logits, this.request, this.ids.length);
    this.ids.push(id);
    this.pending = [id];
    const ended = this.base.tokenizer.eosIds.includes(id);
    let text = ended ? '' : this.stream.push(id);
    if (ended || this.stream.stopped) this.finishReason = 'stop';
    else if (this.ids.length >= this.limit) this.finishReason = 'length';
    if (this.finishReason !== null) {
      text += this.stream.end();
      this.close();
    }
    return {
      text,
      finishReason: this.finishReason,
      promptTokens: this.promptTokens,
      completionTokens: this.ids.length,
    };
  }
}

/** One forward for several answers of one cache; results in their order. */
export function stepTogether(
  base: GenerationBase,
  cache: KvCache,
  answers: readonly Generation[],
): GenerationStep[] {
  const open = answers.filter(({ done }) => !done).sort((a, b) => a.run - b.run);
  const steps = new Map<Generation, GenerationStep>();
  noGrad(() =>
    tidy(() => {
      const { batch, last } = joined(open);
      const ctx = {
        training: false,
        runs: new Map(open.map(({ run }) => [run, { seed: 0, step: 0 }])),
        rows: runRows(batch.sequences),
      };
      const hidden = base.model.forward(batch, ctx, cache);
      open.forEach((answer, i) => {
        const rows = [{ run: answer.run, start: 0, length: 1 }];
        const logits = base.model.head(narrow(hidden, 0, last[i] as number, 1), { ...ctx, rows });
        steps.set(answer, answer.take(logits));
      });
    }),
  );
  return answers.map((answer) => steps.get(answer) ?? ended(answer));
}

function joined(answers: readonly Generation[]): { batch: PackedBatch; last: number[] } {
  const tokens: number[] = [];
  const positions: number[] = [];
  const sequences: Sequence[] = [];
  for (const answer of answers) {
    const next = answer.next();
    sequences.push({
      run: answer.run,
      start: tokens.length,
      length: next.tokens.length,
      cache: next.handle,
    });
    next.tokens.forEach((token, i) => {
      tokens.push(token);
      positions.push(next.position + i);
    });
  }
  const batch = {
    tokens: Int32Array.from(tokens),
    positions: Int32Array.from(positions),
    labels: new Int32Array(tokens.length).fill(-100),
    sequences,
  };
  return { batch, last: sequences.map(({ start, length }) => start + length - 1) };
}

function ended(answer: Generation): GenerationStep {
  return {
    text: '',
    finishReason: answer.finishReason,
    promptTokens: answer.promptTokens,
    completionTokens: answer.ids.length,
  };
}

function encodePrompt(tokenizer: Tokenizer, { messages, prompt }: GenerationRequest): number[] {
  if (!messages) return tokenizer.encode(prompt ?? '', { special: true });
  // A rendered chat brings its own special tokens.
  return tokenizer.encode(tokenizer.render(messages, { addGenerationPrompt: true }));
}
