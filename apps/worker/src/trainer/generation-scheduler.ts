// Generation requests in a trainer. They are decoded together, in time slices between training steps.
import { DomainError, gigabytes, type GenerateAnswer } from '@graft/contracts';
import {
  BARE_BASE,
  isFatal,
  calledForm,
  Constraints,
  Generation,
  stepTogether,
  type Base,
  type KvCache,
} from '@graft/peft-core';
import type { WorkMark } from './work-mark.js';
import type { AttachedAdapters } from './attached-adapters.js';
import type { AnswerFact, AskCommand, Fact } from '../protocol/protocol.js';
import { answered, failed } from './answer-facts.js';

/** Maximum tokens with log probabilities per fact. With 20 top tokens of 300 bytes each, a fact fits in a frame of 1 MiB. */
const MAX_LOGPROBS = 16;

export class GenerationScheduler {
  private readonly open = new Map<string, Generation>();
  /** Requests whose adapter is being attached. */
  private readonly unmade = new Map<string, AskCommand<'generate'>>();
  /** Requests that wait for KV cache memory, in order. */
  private readonly waiting = new Map<string, Generation>();
  private cacheBytes = Infinity;
  private made: KvCache | null = null;
  private constraints: Constraints | undefined;

  constructor(
    private readonly base: Base,
    private readonly adapters: AttachedAdapters,
    private readonly send: (fact: Fact) => void,
    private readonly mark: WorkMark,
  ) {
    adapters.usedBy({
      runs: () => [...this.open.values(), ...this.waiting.values()].map((answer) => answer.run),
      waitsFor: () => [...this.unmade.values()].flatMap(({ adapter }) => adapter?.key ?? []),
    });
  }

  /** @throws DomainError if the base does not generate text */
  private get cache(): KvCache {
    return (this.made ??= this.base.model.cache());
  }

  get busy(): boolean {
    return this.open.size + this.waiting.size + this.unmade.size > 0;
  }

  start(command: AskCommand<'generate'>): void {
    this.mark.answers();
    this.begin(command);
    this.mark.idle();
  }

  private begin(command: AskCommand<'generate'>): void {
    const { id, adapter, payload } = command;
    try {
      const run = adapter && this.adapters.attach(adapter);
      if (adapter && run === null) return void this.unmade.set(id, command);
      this.unmade.delete(id);
      const form =
        payload.response_format ?? calledForm(this.base.tokenizer, payload.tools ?? null);
      const constraint = form
        ? (this.constraints ??= new Constraints(this.base.tokenizer)).of(form)
        : null;
      this.cacheBytes = command.cacheBytes ?? Infinity;
      const answer = new Generation(this.base, this.cache, {
        ...payload,
        run,
        constraint,
        ...(payload.may_lower_max_tokens && { mostRows: this.rowsThatFit(run ?? BARE_BASE) }),
      });
      if (this.bytesOf(answer) > this.cacheBytes) {
        answer.close();
        throw this.tooLarge(answer);
      }
      this.waiting.set(id, answer);
      this.admit();
    } catch (error) {
      this.unmade.delete(id);
      this.send(failed(id, error));
    }
  }

  cancel(id: string): void {
    for (const answers of [this.open, this.waiting]) {
      answers.get(id)?.close();
      answers.delete(id);
    }
    if (this.unmade.delete(id)) this.adapters.drop();
    this.admit();
  }

  /** Starts waiting requests in order, if their maximum KV cache fits with those of the open ones. */
  private admit(): void {
    let cacheBytesInUse = [...this.open.values()].reduce(
      (sum, answer) => sum + this.bytesOf(answer),
      0,
    );
    for (const [id, answer] of this.waiting) {
      cacheBytesInUse += this.bytesOf(answer);
      // The first one fitted when it arrived, but the limit may be lower now.
      if (cacheBytesInUse > this.cacheBytes && this.open.size > 0) return;
      this.waiting.delete(id);
      this.open.set(id, answer);
    }
  }

  /** Returns the maximum KV cache of a request, including its fixed part. */
  private bytesOf({ mostRows, run }: Generation): number {
    return mostRows * this.cache.bytesPerRow(run) + this.cache.extraBytes(run);
  }

  /** Returns the number of key and value rows that fit in the memory for caches. */
  private rowsThatFit(run: number): number {
    const freeBytes = Math.max(0, this.cacheBytes - this.cache.extraBytes(run));
    return Math.floor(freeBytes / this.cache.bytesPerRow(run));
  }

  private tooLarge(answer: Generation): DomainError {
    const fits = this.rowsThatFit(answer.run);
    const most = fits - (answer.mostRows - answer.mostTokens);
    const advice =
      most > 0
        ? `lower max_tokens to ${most} or less`
        : `shorten the prompt to less than ${fits} tokens`;
    return new DomainError(
      'request_too_large',
      `a response of up to ${answer.mostTokens} tokens to a prompt of ${answer.promptTokens} tokens needs a KV cache of ` +
        `${gigabytes(this.bytesOf(answer))}, and this worker has ${gigabytes(this.cacheBytes)}; ${advice}`,
      most > 0 ? 'max_tokens' : 'messages',
    );
  }

  /** Continues all open requests for about `seconds`, at least one token each; then attaches an adapter by a part. */
  work(seconds: number): void {
    if (this.open.size + this.unmade.size === 0) return;
    this.mark.answers();
    const until = performance.now() + 1000 * seconds;
    if (this.open.size > 0)
      do this.step();
      while (this.open.size > 0 && performance.now() < until);
    if (this.unmade.size > 0) this.makeFurther();
    this.mark.idle();
  }

  private makeFurther(): void {
    this.adapters.work();
    for (const command of [...this.unmade.values()]) this.begin(command);
  }

  private step(): void {
    try {
      this.stepAll([...this.open]);
    } catch (error) {
      if (isFatal(error)) throw error;
      // Retry each request alone to find the one that failed, except after a started encoder pass, which cannot be repeated.
      for (const [id, answer] of [...this.open]) {
        try {
          if (answer.isWhole) throw error;
          this.stepAll([[id, answer]]);
        } catch (own) {
          if (isFatal(own)) throw own;
          this.cancel(id);
          this.send(failed(id, own));
        }
      }
    }
  }

  private stepAll(answers: readonly (readonly [string, Generation])[]): void {
    const steps = stepTogether(
      this.base,
      this.cache,
      answers.map(([, answer]) => answer),
    );
    answers.forEach(([id], i) => {
      const step = steps[i] as GenerateAnswer;
      if (step.finish_reason !== null) this.open.delete(id);
      if (step.finish_reason !== null) this.admit();
      for (const fact of factsOf(id, step)) this.send(fact);
    });
  }
}

/** Returns the facts of a step; none without new output. Held-back output, e.g. for a stop string, may need several. */
function factsOf(id: string, step: GenerateAnswer): AnswerFact[] {
  const { text, finish_reason, logprobs, tool_calls: calls = [] } = step;
  const isIdle = text === '' && calls.length === 0 && !logprobs?.length;
  if (isIdle && finish_reason === null) return [];
  const fact = (piece: GenerateAnswer): AnswerFact =>
    answered(id, piece, piece.finish_reason !== null);
  if (!logprobs) return [fact(step)];
  const before: AnswerFact[] = [];
  const { prompt_tokens, completion_tokens } = step;
  let sent = 0;
  for (; logprobs.length - sent > MAX_LOGPROBS; sent += MAX_LOGPROBS) {
    const some = logprobs.slice(sent, sent + MAX_LOGPROBS);
    before.push(
      fact({ text: '', finish_reason: null, prompt_tokens, completion_tokens, logprobs: some }),
    );
  }
  return [...before, fact({ ...step, logprobs: logprobs.slice(sent) })];
}
