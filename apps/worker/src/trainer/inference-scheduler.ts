// Embedding and classification requests in a trainer. Inputs of all requests are batched, in time slices between training
// steps, like generation requests.
import { readFileSync } from 'node:fs';
import { DomainError, grouped, type InferRequest } from '@graft/contracts';
import {
  answersTo,
  BARE_BASE,
  headOf,
  isFatal,
  taskFor,
  virtualTokens,
  type Base,
  type Example,
  type Inference,
  type Share,
} from '@graft/peft-core';
import type { AskCommand, Fact } from '../protocol/protocol.js';
import { answered, failed } from './answer-facts.js';
import type { AttachedAdapters } from './attached-adapters.js';
import type { WorkMark } from './work-mark.js';

/** Maximum rows of a forward pass. A longer input gets its own forward pass. */
const FORWARD_ROWS = 512;
/** Maximum tokens of an input, as for OpenAI, because other requests wait for each forward pass. */
const MAX_TOKENS = 8192;
/** Maximum characters of results per fact; more are split into several facts. */
const FACT_CHARACTERS = 256 * 1024;

interface Open {
  readonly id: string;
  readonly infer: Inference;
  readonly options: InferRequest['options'];
  readonly run: number;
  readonly examples: readonly Example[];
  readonly promptTokens: number;
  /** Number of inputs with results. */
  done: number;
}

interface Part {
  readonly of: Open;
  readonly examples: readonly Example[];
}

export class InferenceScheduler {
  private readonly open = new Map<string, Open>();
  /** Requests whose adapter is being attached. */
  private readonly unmade = new Map<string, AskCommand<'infer'>>();

  constructor(
    private readonly base: Base,
    private readonly adapters: AttachedAdapters,
    private readonly send: (fact: Fact) => void,
    private readonly mark: WorkMark,
  ) {
    adapters.usedBy({
      runs: () => [...this.open.values()].map(({ run }) => run),
      waitsFor: () => [...this.unmade.values()].flatMap(({ adapter }) => adapter?.key ?? []),
    });
  }

  get busy(): boolean {
    return this.open.size + this.unmade.size > 0;
  }

  start(command: AskCommand<'infer'>): void {
    this.mark.answers();
    this.begin(command);
    this.mark.idle();
  }

  private begin(command: AskCommand<'infer'>): void {
    const { id } = command;
    try {
      const opened = this.opened(command);
      if (opened === null) return void this.unmade.set(id, command);
      this.unmade.delete(id);
      this.open.set(id, opened);
    } catch (error) {
      this.unmade.delete(id);
      this.send(failed(id, error));
    }
  }

  cancel(id: string): void {
    this.open.delete(id);
    if (this.unmade.delete(id)) this.adapters.drop();
  }

  /** Continues for about `seconds`, at least one forward pass; then attaches an adapter by a part. */
  work(seconds: number): void {
    if (!this.busy) return;
    this.mark.answers();
    const until = performance.now() + 1000 * seconds;
    if (this.open.size > 0)
      do this.step();
      while (this.open.size > 0 && performance.now() < until);
    if (this.unmade.size > 0) {
      this.adapters.work();
      for (const command of [...this.unmade.values()]) this.begin(command);
    }
    this.mark.idle();
  }

  /** Opens a request; null while its adapter is being attached. */
  private opened(command: AskCommand<'infer'>): Open | null {
    const { id, adapter } = command;
    const { task, options } = command.payload;
    const { infer } = taskFor(task);
    if (!infer)
      throw new DomainError(
        'internal_error',
        `task ${task} generates text; expected an inference task`,
      );
    const { model, processor } = this.base;
    const head = headOf({ task, task_options: options });
    const run = adapter === null ? BARE_BASE : this.adapters.attach(adapter, head);
    if (run === null) return null;
    const most = Math.min(MAX_TOKENS, model.maxPositions - virtualTokens(model, run));
    const { vocabSize } = model;
    const how = { maxSeqLen: most, vocabSize, taskOptions: options };
    const encoded = infer.encode(whole(command), processor, how);
    for (const [i, { longest, example }] of encoded.entries()) {
      // A long input may be split into several windows.
      const [tokens, limit] = longest > most ? [longest, most] : [example.rows, MAX_TOKENS];
      if (tokens <= limit) continue;
      const message = `input ${i} has ${grouped(tokens)} tokens; the model supports at most ${grouped(limit)}`;
      throw new DomainError('invalid_value', message, `input.${i}`);
    }
    const examples = encoded.map(({ example }) => example);
    const promptTokens = examples.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
    return { id, infer, options, run, examples, promptTokens, done: 0 };
  }

  private step(): void {
    const parts = this.next();
    try {
      this.answer(parts);
    } catch (error) {
      if (isFatal(error)) throw error;
      // Retry each request alone to find the one that failed.
      for (const part of parts) {
        try {
          if (parts.length === 1) throw error;
          this.answer([part]);
        } catch (own) {
          if (isFatal(own)) throw own;
          this.cancel(part.of.id);
          this.send(failed(part.of.id, own));
        }
      }
    }
  }

  /** Returns inputs of the first request, and of others with the same task, for one forward pass. */
  private next(): Part[] {
    const [first] = this.open.values();
    const parts: Part[] = [];
    let rows = 0;
    for (const of of this.open.values()) {
      if (of.infer !== first?.infer) continue;
      const examples: Example[] = [];
      for (const example of of.examples.slice(of.done)) {
        if (rows > 0 && rows + example.rows > FORWARD_ROWS) break;
        examples.push(example);
        rows += example.rows;
      }
      if (examples.length > 0) parts.push({ of, examples });
      if (rows >= FORWARD_ROWS) break;
    }
    // Rows of the same run must be adjacent.
    return parts.sort((a, b) => a.of.run - b.of.run);
  }

  private answer(parts: readonly Part[]): void {
    const [first] = parts as [Part];
    const shares = parts.map(({ of: { run, options }, examples }): Share<Example> => ({
      run,
      examples,
      options,
    }));
    const answers = answersTo(first.of.infer, this.base.model, shares);
    let at = 0;
    for (const { of, examples } of parts) {
      this.report(of, answers.slice(at, at + examples.length));
      at += examples.length;
    }
  }

  private report(of: Open, answers: readonly unknown[]): void {
    of.done += answers.length;
    const isLast = of.done === of.examples.length;
    // Other requests get a turn before one with many inputs continues.
    this.open.delete(of.id);
    if (!isLast) this.open.set(of.id, of);
    const pieces = bySize(answers.map((one) => (of.infer.kind === 'embed' ? packed(one) : one)));
    for (const [i, piece] of pieces.entries())
      this.send(
        answered(
          of.id,
          { answers: piece, prompt_tokens: of.promptTokens },
          isLast && i === pieces.length - 1,
        ),
      );
  }
}

/** Returns the inputs, including the image or audio file of the request. */
function whole({ payload: { inputs }, file }: AskCommand<'infer'>): InferRequest['inputs'] {
  if (!file) return inputs;
  const content = readFileSync(file, 'base64');
  const [cut = {}] = inputs;
  const urls = Object.entries(cut).map(([key, url]) => [key, `${String(url)}${content}`]);
  return [Object.fromEntries(urls) as InferRequest['inputs'][number]];
}

/** Encodes a vector as base64 of little-endian f32 values, as OpenAI does. */
const packed = (vector: unknown): string =>
  Buffer.from(Float32Array.from(vector as number[]).buffer).toString('base64');

function bySize(answers: readonly unknown[]): unknown[][] {
  const pieces: unknown[][] = [[]];
  let characters = 0;
  for (const answer of answers) {
    const { length } = JSON.stringify(answer);
    if (characters > 0 && characters + length > FACT_CHARACTERS) {
      pieces.push([]);
      characters = 0;
    }
    pieces.at(-1)?.push(answer);
    characters += length;
  }
  return pieces;
}
