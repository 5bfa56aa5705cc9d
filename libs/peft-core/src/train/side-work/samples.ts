// Generates the run's answers to its sample prompts, greedily and in one batch. Each turn is one forward pass, so that
// other runs train and chats are answered in between. It reads the adapter and changes nothing.
import type { SamplePrompt } from '@graft/contracts';
import { promptOf } from '../../data/text/prompt.js';
import { Generation, type GenerationBase } from '../../generate/generation.js';
import type { KvCache } from '../../nn/kv-cache.js';
import type { FactOfRun } from '../facts.js';
import { SAMPLE_ROWS } from '../run-bytes.js';
import type { SideWork } from './side-work.js';
import { stepTogether } from '../../generate/step-together.js';

export interface SampleRequest {
  readonly prompts: readonly SamplePrompt[];
  readonly maxTokens: number;
  /** Task of the prompts, if the adapter has several tasks. */
  readonly taskId: number | null;
  /** Optimizer steps done. */
  readonly step: number;
}

export class Samples implements SideWork {
  readonly what = 'Answering the sample prompts';
  private readonly cache: KvCache;
  private readonly answers: Generation[] = [];
  private readonly texts: string[];

  /** @throws DomainError if a prompt leaves no tokens for an answer */
  constructor(
    private readonly base: GenerationBase,
    run: number,
    private readonly request: SampleRequest,
  ) {
    const { prompts, maxTokens, taskId } = request;
    this.cache = base.model.cache();
    this.texts = prompts.map(() => '');
    const greedy = {
      run,
      task_id: taskId,
      max_tokens: maxTokens,
      temperature: 0,
      top_p: 1,
      seed: 0,
      stop: [],
    };
    try {
      for (const prompt of prompts)
        this.answers.push(new Generation(base, this.cache, { ...greedy, ...promptOf(prompt) }));
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Runs one forward pass of all prompts. */
  next(): FactOfRun<'sampled'> | null {
    const steps = stepTogether(this.base, this.cache, this.answers, SAMPLE_ROWS);
    for (const [i, { text }] of steps.entries()) this.texts[i] += text;
    if (!this.answers.every(({ done }) => done)) return null;
    const samples = this.answers.map(({ finishReason, ids }, i) => ({
      text: this.texts[i] as string,
      finish_reason: finishReason ?? 'length',
      completion_tokens: ids.length,
    }));
    return { type: 'sampled', step: this.request.step, samples };
  }

  dispose(): void {
    this.cache.dispose();
  }
}
