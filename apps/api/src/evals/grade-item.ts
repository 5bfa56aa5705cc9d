import { Injectable } from '@nestjs/common';
import { DomainError, type EvalItemResult } from '@graft/contracts';
import { isUngraded } from '@graft/contracts/evals';
import { randomInt } from 'node:crypto';
import { projectPrincipal, type Principal } from '../auth/principal.js';
import { DEFAULT_TOKENS } from '../chat/chat-body.js';
import { ChatService } from '../chat/chat.service.js';
import type { Eval, EvalItem, EvalRun } from '../database/entities/evals.js';
import { faultOf, isDependency, toOutageError, type Fault, type Dependency } from '../faults.js';
import { log } from '../log.js';
import { addUsage, type Grade, type Tokens } from '../graders/grade.js';
import type { TestingCriterion } from '../graders/grader.js';
import { GradersService, mapTexts } from '../graders/graders.service.js';
import { render, sampleOf, type Grading } from '../graders/template.js';
import { formatOf, type DataSource } from './eval-body.js';
import type { Graded, PartialItem, Wait } from './graded-item.js';

type Sampled = Exclude<DataSource, { type: 'jsonl' }>;
type Usage = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Stops the grading of an item that has to wait. */
class Waits extends Error {
  constructor(readonly wait: Wait) {
    super(wait.error.message);
  }
}

/** Generates the answer for an item, if the run has a model, and grades it. */
@Injectable()
export class ItemGrading {
  constructor(
    private readonly chats: ChatService,
    private readonly graders: GradersService,
  ) {}

  /**
   * Grades an item, starting from the partial result of an earlier call. Errors of the item itself become its result.
   * @returns `null` if `stop` aborts first
   */
  async grade(
    { run, criteria }: { readonly run: EvalRun; readonly criteria: Eval['testing_criteria'] },
    item: EvalItem,
    stop: AbortSignal,
  ): Promise<Graded | PartialItem | null> {
    const caller = projectPrincipal(run);
    const source = run.data_source as DataSource;
    const { number } = item;
    let { sample, usage } = item;
    const results = [...item.results];
    const isSampled = source.type === 'jsonl' || Object.keys(usage).length > 0;
    try {
      if (!isSampled) {
        const answered = await this.sampled(caller, source, item, stop);
        if (answered === null) return null;
        ({ sample, usage } = answered);
        if (answered.failed) return { number, sample, usage, results, status: 'error' };
      }
      const text = sample?.['output_text'] ?? outputOf(sample);
      const grading: Grading = {
        item: item.item,
        sample: typeof text === 'string' ? sampleOf(text, sample ?? {}) : null,
      };
      for (const one of (criteria as readonly TestingCriterion[]).slice(results.length)) {
        const result = await this.result(caller, one, grading, stop);
        if (result === null) return null;
        results.push(result.result);
        usage = added(usage, result.usage);
      }
    } catch (error) {
      if (!(error instanceof Waits)) throw error;
      return stop.aborted ? null : { number, sample, usage, results, wait: error.wait };
    }
    const status = results.some(isUngraded)
      ? 'error'
      : results.every(({ passed }) => passed)
        ? 'pass'
        : 'fail';
    return { number, sample, usage, results, status };
  }

  /** @throws Waits if the model is not available now */
  private async sampled(
    caller: Principal,
    source: Sampled,
    item: EvalItem,
    stop: AbortSignal,
  ): Promise<{ sample: EvalItem['sample']; usage: Usage; failed: boolean } | null> {
    const { model, sampling_params: params } = source;
    // The defaults of chats are set here so that the sample contains them.
    const sampling = {
      max_completion_tokens: params?.max_completion_tokens ?? DEFAULT_TOKENS,
      temperature: params?.temperature ?? 1,
      top_p: params?.top_p ?? 1,
      seed: params?.seed ?? randomInt(2 ** 31),
    };
    try {
      const messages = inputOf(source, item);
      const body = { model, messages, ...sampling, response_format: formatOf(source) };
      const answer = await this.chats.ask(caller, body, stop);
      if (answer === null) return null;
      const sample = {
        model,
        input: messages,
        output: [{ role: 'assistant', content: answer.text }],
        output_text: answer.text,
        finish_reason: answer.finishReason,
        usage: { ...answer.usage, cached_tokens: 0 },
        ...sampling,
        error: null,
      };
      return { sample, usage: added({}, { [model]: answer.usage }), failed: false };
    } catch (error) {
      if (stop.aborted) return null;
      throwToWait(error, 'relay');
      const sample = { model, input: [], output: [], ...sampling, error: shown(error) };
      return { sample, usage: {}, failed: true };
    }
  }

  /** @throws Waits if it cannot be graded now */
  private async result(
    caller: Principal,
    criterion: TestingCriterion,
    grading: Grading,
    stop: AbortSignal,
  ): Promise<{ readonly result: EvalItemResult; readonly usage: Grade['usage'] } | null> {
    const { name, type } = criterion;
    const failed = { name, type, score: 0, passed: false, sample: null };
    try {
      const grade = await this.graders.grade(caller, criterion, grading, name, stop);
      if (grade === null || stop.aborted) return null;
      const wrong = Object.keys(grade.errors)[0];
      const sample = grade.modelAnswer && {
        model: grade.modelAnswer.model,
        output: [{ role: 'assistant', content: grade.modelAnswer.text }],
        ...(grade.label === null ? {} : { label: grade.label }),
      };
      const error =
        wrong === undefined ? {} : { error: { code: wrong, message: meaning(wrong, grade) } };
      const passed = wrong === undefined && grade.score >= threshold(criterion);
      const result = { ...failed, score: grade.score, passed, sample, ...error };
      return { result, usage: grade.usage };
    } catch (error) {
      if (stop.aborted) return null;
      throwToWait(error, type === 'python' ? 'graders' : 'relay');
      return { result: { ...failed, error: shown(error) }, usage: {} };
    }
  }
}

const MEANING: Readonly<Record<string, string>> = {
  model_grader_parse_error: 'the model did not answer with a score or label',
};

const meaning = (wrong: string, { errors }: Grade): string =>
  errors.python_grader_runtime_error_details ??
  errors.sample_parse_error_details ??
  MEANING[wrong] ??
  wrong;

/** Returns the minimum score to pass. For a score model without a threshold it is the middle of its range. */
function threshold(criterion: TestingCriterion): number {
  if (criterion.type === 'text_similarity') return criterion.pass_threshold;
  if (criterion.type === 'python') return criterion.pass_threshold ?? 1;
  if (criterion.type !== 'score_model') return 1;
  const [low, high] = criterion.range ?? [0, 1];
  return criterion.pass_threshold ?? (low + high) / 2;
}

/**
 * Throws if the item has to wait; returns if the error is caused by the item.
 * @throws Waits
 */
function throwToWait(error: unknown, contacted: Dependency): void {
  const fault = faultOf(error, contacted);
  const failure = error instanceof DomainError ? error : toOutageError(error);
  if (failure && mayPass(fault)) throw new Waits({ error: failure, fault });
}

const mayPass = (fault: Fault): fault is Dependency | 'limit' =>
  isDependency(fault) || fault === 'limit';

/** Returns the messages to send to the model. */
function inputOf({ input_messages: input }: Sampled, { item }: EvalItem): readonly object[] {
  const grading: Grading = { item, sample: null };
  if (input.type === 'template')
    return mapTexts(input.template, 'input_messages.template', (text, param) =>
      render(text, grading, param),
    ).map(({ role, content }) => ({ role, content }));
  let value: unknown = { item };
  for (const key of input.item_reference.split('.'))
    value = (value as Readonly<Record<string, unknown>> | null | undefined)?.[key];
  if (Array.isArray(value)) return value as object[];
  throw new DomainError(
    'invalid_value',
    `${input.item_reference}: expected a list of messages`,
    'input_messages.item_reference',
  );
}

function outputOf(sample: EvalItem['sample']): unknown {
  const [first] = (sample?.['output'] ?? []) as readonly { content?: unknown }[];
  return first?.content;
}

function added(usage: Usage, more: Readonly<Record<string, Tokens>>): Usage {
  const sums = addUsage(usage as Readonly<Record<string, Tokens & Record<string, number>>>, more);
  return Object.fromEntries(
    Object.entries(sums).map(([model, tokens]) => {
      const before = usage[model]?.['invocation_count'] ?? 0;
      return [model, { ...tokens, invocation_count: before + (model in more ? 1 : 0) }];
    }),
  );
}

function shown(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof DomainError) return { code: error.code, message: error.message };
  log.warn({ err: error }, 'an item of an eval could not be graded');
  return { code: 'internal_error', message: 'the item could not be graded' };
}
