// Answers in the making inside a trainer. They are stepped together, in slices between training steps.
import {
  failureOf,
  Generation,
  readAdapter,
  attachMethod,
  stepTogether,
  type Adapter,
  type Base,
  type KvCache,
} from '@graft/peft-core';
import type { AdapterSource, Fact, GenerateCommand, GeneratedFact } from './protocol.js';

/** Adapters of recent chats stay attached: attaching takes longer than a token. */
const KEPT_ADAPTERS = 8;
/** Run ids of chats; those of training runs are positive, -1 is the bare base. */
const FIRST_RUN = -2;

interface Attached {
  readonly run: number;
  readonly adapter: Adapter;
}

export class Chats {
  private readonly open = new Map<string, Generation>();
  private readonly adapters = new Map<string, Attached>();
  private readonly cache: KvCache;
  private nextRun = FIRST_RUN;

  constructor(
    private readonly base: Base,
    private readonly send: (fact: Fact) => void,
  ) {
    this.cache = base.model.cache();
  }

  get busy(): boolean {
    return this.open.size > 0;
  }

  start(command: GenerateCommand): void {
    try {
      const run = command.adapter === null ? null : this.attached(command.adapter);
      this.open.set(command.id, new Generation(this.base, this.cache, { ...command, run }));
    } catch (error) {
      this.send(failed(command.id, error));
    }
  }

  cancel(id: string): void {
    this.open.get(id)?.close();
    this.open.delete(id);
  }

  /** Continues all open answers for about `seconds`, at least one token each. */
  work(seconds: number): void {
    const until = performance.now() + 1000 * seconds;
    while (this.open.size > 0) {
      this.step();
      if (performance.now() >= until) return;
    }
  }

  private step(): void {
    const answers = [...this.open];
    try {
      const steps = stepTogether(
        this.base,
        this.cache,
        answers.map(([, answer]) => answer),
      );
      answers.forEach(([id], i) => {
        const { text, finishReason, promptTokens, completionTokens } = steps[
          i
        ] as (typeof steps)[number];
        if (finishReason !== null) this.open.delete(id);
        if (text === '' && finishReason === null) return;
        this.send({
          type: 'generated',
          id,
          text,
          finishReason,
          promptTokens,
          completionTokens,
          errorCode: null,
          errorMessage: null,
        });
      });
    } catch (error) {
      for (const [id] of answers) {
        this.cancel(id);
        this.send(failed(id, error));
      }
    }
  }

  /** The run id under which the adapter is attached. */
  private attached({ key, dir }: AdapterSource): number {
    const known = this.adapters.get(key);
    if (known) {
      // The one used last goes last.
      this.adapters.delete(key);
      this.adapters.set(key, known);
      return known.run;
    }
    const stored = readAdapter(dir);
    const run = this.nextRun--;
    try {
      const adapter = attachMethod(this.base.model, stored.peft, {
        run,
        seed: 0,
        tokenize: (text) => this.base.tokenizer.encode(text, { special: true }),
      });
      this.adapters.set(key, { run, adapter });
      adapter.load(stored.tensors);
    } catch (error) {
      this.adapters.get(key)?.adapter.detach();
      this.adapters.delete(key);
      throw error;
    } finally {
      stored.dispose();
    }
    this.evict();
    return run;
  }

  private evict(): void {
    const inUse = new Set([...this.open.values()].map(({ run }) => run));
    for (const [key, { run, adapter }] of this.adapters) {
      if (this.adapters.size <= KEPT_ADAPTERS) return;
      if (inUse.has(run) || run === this.nextRun + 1) continue;
      adapter.detach();
      this.adapters.delete(key);
    }
  }
}

function failed(id: string, error: unknown): GeneratedFact {
  const { code, message } = failureOf(error);
  return {
    type: 'generated',
    id,
    text: '',
    finishReason: 'error',
    promptTokens: 0,
    completionTokens: 0,
    errorCode: code,
    errorMessage: message,
  };
}
