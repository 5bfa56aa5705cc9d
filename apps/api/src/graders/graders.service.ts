import { Injectable } from '@nestjs/common';
import { DomainError, parseBody } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { ChatService } from '../chat/chat.service.js';
import { setImmediate } from 'node:timers/promises';
import { parseFormula } from './formula.js';
import { addUsage, graded, NO_ERRORS, type Grade, type Tokens } from './grade.js';
import {
  RunGraderBody,
  ValidateGraderBody,
  type Grader,
  type MultiGrader,
  type SingleGrader,
  type TemplateMessage,
} from './grader.js';
import { PythonGraders } from './python-graders.js';
import { MOST_CHARACTERS, similarity } from './similarity.js';
import {
  checkTemplate,
  MOST_RENDERED,
  render,
  MissingSampleValue,
  sampleOf,
  tooLong,
  type Grading,
} from './template.js';
import { labelForm, readLabel, readScore, scoreForm, type VerdictForm } from './verdict.js';

type Kind<T extends SingleGrader['type']> = Extract<SingleGrader, { type: T }>;

/** Grades samples by comparison, code or models. Requests to models are queued like chats. */
@Injectable()
export class GradersService {
  constructor(
    private readonly chats: ChatService,
    private readonly python: PythonGraders,
  ) {}

  async validate(caller: Principal, body: unknown): Promise<{ readonly grader: Grader }> {
    const { grader } = parseBody(ValidateGraderBody, body);
    await this.check(caller, grader, 'grader');
    return { grader };
  }

  /** Runs a grader on a sample. Returns null if the client disconnects first. */
  async run(caller: Principal, body: unknown, left: AbortSignal): Promise<object | null> {
    const { grader, model_sample: text, item = {} } = parseBody(RunGraderBody, body);
    await this.check(caller, grader, 'grader');
    const startedAt = performance.now();
    const grading: Grading = { item, sample: sampleOf(text) };
    const grade = await this.grade(caller, grader, grading, 'grader', left);
    if (left.aborted) return null;
    const parts = Object.entries(grade.parts).map(([key, part]) => [key, part.score] as const);
    const tokens = Object.values(grade.usage).reduce((sum, one) => sum + one.total_tokens, 0);
    const name = grader.name ?? grader.type;
    return {
      reward: grade.score,
      metadata: {
        name,
        type: grader.type,
        errors: { ...NO_ERRORS, ...grade.errors },
        execution_time: (performance.now() - startedAt) / 1000,
        scores: Object.fromEntries([...parts, [name, grade.score]]),
        token_usage: Object.keys(grade.usage).length === 0 ? null : tokens,
        sampled_model_name: Object.keys(grade.usage)[0] ?? null,
      },
      sub_rewards: Object.fromEntries(parts),
      model_grader_token_usage_per_model: grade.usage,
    };
  }

  /**
   * Checks a grader.
   * @throws DomainError if it would fail for every sample
   */
  async check(caller: Principal, grader: Grader, param: string): Promise<void> {
    switch (grader.type) {
      case 'string_check':
      case 'text_similarity':
        checkTemplate(grader.input, `${param}.input`);
        checkTemplate(grader.reference, `${param}.reference`);
        return;
      case 'score_model':
      case 'label_model':
        mapTexts(grader.input, `${param}.input`, (text, at) => {
          checkTemplate(text, at);
          return text;
        });
        return this.chats.check(caller, grader.model, `${param}.model`);
      case 'python':
        return this.python.check(caller.projectId, grader.source, `${param}.source`);
      case 'multi': {
        const names = Object.keys(grader.graders);
        const formula = parseFormula(grader.calculate_output, `${param}.calculate_output`);
        const strange = [...formula.names].find((name) => !names.includes(name));
        if (strange !== undefined)
          throw new DomainError(
            'invalid_value',
            `${param}.calculate_output: no grader is named ${strange}; expected one of ${names.join(', ')}`,
            `${param}.calculate_output`,
          );
        for (const [name, one] of Object.entries(grader.graders))
          await this.check(caller, one, `${param}.graders.${name}`);
      }
    }
  }

  /**
   * Runs a checked grader on a sample. Errors caused by the sample or by a model's answer are part of the grade.
   * @throws DomainError if the item lacks a value that a template names, or if no model answers
   */
  async grade(
    caller: Principal,
    grader: Grader,
    grading: Grading,
    param: string,
    left: AbortSignal,
  ): Promise<Grade> {
    try {
      switch (grader.type) {
        case 'string_check':
          return graded(stringCheck(grader, grading, param));
        case 'text_similarity':
          return graded(textSimilarity(grader, grading, param));
        case 'score_model':
          return await this.scored(caller, grader, messagesOf(grader, grading, param), left);
        case 'label_model':
          return await this.labelled(caller, grader, messagesOf(grader, grading, param), left);
        case 'multi':
          return await this.combined(caller, grader, grading, param, left);
        case 'python':
          return await this.python.grade(
            caller.projectId,
            grader.source,
            grading,
            `${param}.source`,
            left,
          );
      }
    } catch (error) {
      if (!(error instanceof MissingSampleValue)) throw error;
      const { message } = error;
      return graded(0, {
        errors: { sample_parse_error: true, sample_parse_error_details: message },
      });
    }
  }

  private async combined(
    caller: Principal,
    grader: MultiGrader,
    grading: Grading,
    param: string,
    left: AbortSignal,
  ): Promise<Grade> {
    const parts: Record<string, Grade> = {};
    // Sequentially, because concurrent chats could exceed the project's limit.
    for (const [name, one] of Object.entries(grader.graders)) {
      // Twenty comparisons of long texts take seconds, so other requests get their turn in between.
      await setImmediate();
      parts[name] = await this.grade(caller, one, grading, `${param}.graders.${name}`, left);
    }
    const grades = Object.values(parts);
    const usage = grades.reduce((sum, one) => addUsage(sum, one.usage), {});
    const errors = Object.assign({}, ...grades.map((one) => one.errors)) as Grade['errors'];
    if (Object.keys(errors).length > 0) return graded(0, { errors, usage, parts });
    const scores = Object.fromEntries(
      Object.entries(parts).map(([name, one]) => [name, one.score]),
    );
    const score = parseFormula(grader.calculate_output, param).value(scores);
    return Number.isFinite(score)
      ? graded(score, { usage, parts })
      : graded(0, { errors: { other_error: true }, usage, parts });
  }

  private async scored(
    caller: Principal,
    grader: Kind<'score_model'>,
    messages: readonly TemplateMessage[],
    left: AbortSignal,
  ): Promise<Grade> {
    const range = grader.range ?? ([0, 1] as const);
    const { max_completions_tokens: tokens, ...sampling } = grader.sampling_params ?? {};
    const params = { ...sampling, max_completion_tokens: tokens };
    const answer = await this.ask(caller, grader.model, [messages, scoreForm(range)], params, left);
    const score = answer === null ? null : readScore(answer.text, range);
    return verdict(grader.model, answer, score, null);
  }

  private async labelled(
    caller: Principal,
    grader: Kind<'label_model'>,
    messages: readonly TemplateMessage[],
    left: AbortSignal,
  ): Promise<Grade> {
    const form = labelForm(grader.labels);
    // A token has at least one byte, so the longest label is never truncated.
    const longest = Math.max(...grader.labels.map((one) => Buffer.byteLength(JSON.stringify(one))));
    const params = { temperature: 0, max_completion_tokens: Math.max(256, longest) };
    const answer = await this.ask(caller, grader.model, [messages, form], params, left);
    const label = answer === null ? null : readLabel(answer.text, grader.labels);
    const score = label === null ? null : Number(grader.passing_labels.includes(label));
    return verdict(grader.model, answer, score, label);
  }

  /**
   * Asks the grading model with a schema for the verdict. Some vocabularies cannot express it, and some ranges have
   * no schema: those models are only instructed.
   */
  private async ask(
    caller: Principal,
    model: string,
    [messages, { instruction, schema }]: readonly [readonly TemplateMessage[], VerdictForm],
    sampling: object,
    left: AbortSignal,
  ): ReturnType<ChatService['ask']> {
    const body = { ...sampling, model, messages: withInstruction(messages, instruction) };
    const held = { type: 'json_schema', json_schema: { name: 'verdict', schema } };
    try {
      return await this.chats.ask(caller, { ...body, response_format: held }, left);
    } catch (error) {
      if (!(error instanceof DomainError && error.code === 'unsupported')) throw error;
      return this.chats.ask(caller, body, left);
    }
  }
}

function verdict(
  model: string,
  answer: { readonly text: string; readonly usage: Tokens } | null,
  score: number | null,
  label: string | null,
): Grade {
  if (answer === null) return graded(0, { errors: { other_error: true } });
  const more = {
    modelAnswer: { model, text: answer.text },
    label,
    usage: { [model]: answer.usage },
  };
  return score === null
    ? graded(0, { ...more, errors: { model_grader_parse_error: true } })
    : graded(score, more);
}

/**
 * Adds the instruction to the messages so that every chat template accepts it: some reject a second system message,
 * or two consecutive messages of one role.
 */
function withInstruction(
  messages: readonly TemplateMessage[],
  instruction: string,
): { readonly role: string; readonly content: string }[] {
  const plain = messages.map(({ role, content }) => ({ role, content: String(content) }));
  const last = plain.at(-1)!;
  return last.role === 'assistant'
    ? [...plain, { role: 'user', content: instruction }]
    : [...plain.slice(0, -1), { ...last, content: `${last.content}\n\n${instruction}` }];
}

function stringCheck(grader: Kind<'string_check'>, grading: Grading, param: string): number {
  const input = render(grader.input, grading, `${param}.input`);
  const reference = render(grader.reference, grading, `${param}.reference`);
  switch (grader.operation) {
    case 'eq':
      return Number(input === reference);
    case 'ne':
      return Number(input !== reference);
    case 'like':
      return Number(input.includes(reference));
    case 'ilike':
      return Number(input.toLowerCase().includes(reference.toLowerCase()));
  }
}

function textSimilarity(grader: Kind<'text_similarity'>, grading: Grading, param: string): number {
  const texts = (['input', 'reference'] as const).map((field) => {
    const text = render(grader[field], grading, `${param}.${field}`);
    if (text.length <= MOST_CHARACTERS) return text;
    throw new DomainError(
      'request_too_large',
      `${param}.${field} is ${text.length} characters; text_similarity compares at most ${MOST_CHARACTERS}`,
      `${param}.${field}`,
    );
  });
  const metric = grader.evaluation_metric;
  if (metric === 'cosine') throw new DomainError('unsupported', 'cosine is not supported', param);
  return similarity(metric, texts[0]!, texts[1]!);
}

const messagesOf = (
  grader: Kind<'score_model' | 'label_model'>,
  grading: Grading,
  param: string,
): readonly TemplateMessage[] => {
  let left = MOST_RENDERED;
  return mapTexts(grader.input, `${param}.input`, (text, at) => {
    const whole = render(text, grading, at);
    left -= whole.length;
    if (left < 0) throw tooLong(at);
    return whole;
  });
};

/** Applies a function to each text of the messages. Parts are joined into one text. */
export function mapTexts(
  messages: readonly TemplateMessage[],
  param: string,
  change: (text: string, param: string) => string,
): readonly (TemplateMessage & { readonly content: string })[] {
  return messages.map((message, i) => {
    const parts = Array.isArray(message.content) ? message.content : [message.content];
    const content = parts
      .map((part) => change(typeof part === 'string' ? part : part.text, `${param}.${i}.content`))
      .join('');
    return { ...message, content };
  });
}
