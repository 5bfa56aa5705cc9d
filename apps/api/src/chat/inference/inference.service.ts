import { Injectable } from '@nestjs/common';
import {
  DomainError,
  grouped,
  MAX_MEDIA_ORDER_BYTES,
  MAX_ORDER_BYTES,
  readRequest,
  type InferAnswer,
  type ModelUse,
} from '@graft/contracts';
import type { Request, Response } from 'express';
import type { Principal } from '../../auth/principal.js';
import {
  defaultOptions,
  inputRecords,
  inputsOfTask,
  tasksOfBase,
  tasksUsedTo,
  vectorSize,
} from '../../catalog/plugins.js';
import { drained } from '../../http/drained.js';
import { newId } from '../../ids.js';
import { ModelsService, type Resolved } from '../../models/models.service.js';
import { AnswerChunks, type AnswerChunk } from '../answers/answer-chunks.js';
import {
  ClassifyBody,
  ClassifyFields,
  EmbeddingsBody,
  EmbeddingsFields,
  embeddingsInput,
  listed,
} from './inference-body.js';
import { mediaQuestion, type MediaFile } from './media-input.js';
import { checkUse } from '../model-checks.js';

/** In one response; OpenAI's longest is 2,048 vectors of 3,072. */
const MOST_NUMBERS = 8 * 1024 * 1024;
/** What may come back from a worker: base64 of so many f32, and as much as labels take. */
const MOST_CHARACTERS = 6 * MOST_NUMBERS;
/** Tokens of an input at most (the trainer's limit): what a worker says beyond counts nothing. */
const MOST_TOKENS = 8192;

interface Asked {
  readonly request: Request;
  readonly body: unknown;
}

interface Wanted {
  readonly model: Resolved;
  readonly use: ModelUse;
  readonly inputs: readonly unknown[];
  readonly name: (index: number) => string;
  readonly file: MediaFile | null;
}

interface Inferred {
  /** One an input, in order. */
  readonly answers: readonly unknown[];
  readonly tokens: number;
}

/** Vectors and labels, by the road that chats take. */
@Injectable()
export class InferenceService {
  constructor(
    private readonly models: ModelsService,
    private readonly chunks: AnswerChunks,
  ) {}

  /** OpenAI's endpoint. */
  async embed(caller: Principal, { request, body }: Asked, response: Response): Promise<void> {
    const forms = { json: EmbeddingsBody, input: embeddingsInput, fields: EmbeddingsFields };
    const { asked, inputFor, file } = await mediaQuestion(request, body, forms);
    const model = await this.resolved(caller, asked.model, 'embed');
    const { inputs, name } = listed(inputFor(taskOf(model, 'embed')));
    const dimensions = 'dimensions' in asked ? (asked.dimensions ?? null) : null;
    if (model.base.config) checkSize(vectorSize(model.base.config), inputs.length, dimensions);
    const found = await this.infer(caller, { model, use: 'embed', inputs, name, file }, response);
    if (!found || response.destroyed) return;
    if (!found.answers.every(isVector)) throw malformed();
    const isBase64 = asked.encoding_format === 'base64';
    const usage = { prompt_tokens: found.tokens, total_tokens: found.tokens };
    const end = { model: asked.model, usage };
    const embeddings = found.answers.map((answer) => () => (isBase64 ? answer : numbersOf(answer)));
    await sendEmbeddings(response, embeddings, end);
  }

  /** vLLM's endpoint. */
  async classify(caller: Principal, { request, body }: Asked, response: Response): Promise<void> {
    const { asked, inputFor, file } = await mediaQuestion(request, body, {
      json: ClassifyBody,
      input: ({ input }) => input,
      fields: ClassifyFields,
    });
    const model = await this.resolved(caller, asked.model, 'classify');
    const { inputs, name } = listed(inputFor(model.task?.name));
    const found = await this.infer(
      caller,
      { model, use: 'classify', inputs, name, file },
      response,
    );
    if (!found || response.destroyed) return;
    response.json({
      id: newId('classify-'),
      object: 'list',
      created: Math.floor(Date.now() / 1000),
      model: asked.model,
      data: found.answers.map((answer, index) => ({ index, ...labelled(answer, model) })),
      usage: { prompt_tokens: found.tokens, total_tokens: found.tokens, completion_tokens: 0 },
    });
  }

  private async resolved(caller: Principal, id: string, use: ModelUse): Promise<Resolved> {
    const model = await this.models.resolve(caller, id, 'model');
    checkUse(model, use);
    return model;
  }

  /** Null where the client leaves first. */
  private async infer(
    caller: Principal,
    { model, use, inputs, name, file }: Wanted,
    response: Response,
  ): Promise<Inferred | null> {
    const task = taskOf(model, use);
    // of a file there is one input, and it is its record
    const records = file ? inputs : inputRecords(task, inputs, name);
    refuseTooLarge(records, inputsOfTask(task) === 'tokens' ? MAX_ORDER_BYTES : MAX_MEDIA_ORDER_BYTES); // prettier-ignore
    const options = model.task?.options ?? defaultOptions(task);
    const left = new AbortController();
    response.on('close', () => left.abort());
    const payload = readRequest('infer', { task, options, inputs: records });
    const question = { kind: 'infer' as const, payload, model, file };
    const most = MOST_TOKENS * inputs.length;
    const tokensOf = (piece: InferAnswer): number => Math.min(piece.prompt_tokens, most);
    const chunks = this.chunks.of(caller, question, left.signal, tokensOf);
    return collected(chunks, inputs.length).catch((error: unknown) => {
      throw ofInput(error);
    });
  }
}

/** Of a base the first of its tasks that is used so. */
export function taskOf({ task, base }: Resolved, use: ModelUse): string {
  const all = tasksUsedTo(use);
  const own = tasksOfBase(base.family ?? '');
  return task?.name ?? all.find((name) => own.includes(name)) ?? all[0] ?? '';
}

/** With vLLM's names beside the task's own: numbers in the order of the labels, which an object may not keep. */
function labelled(answer: unknown, { task }: Resolved): object {
  const { probabilities } = answer as { probabilities?: Readonly<Record<string, number>> };
  // Of words there is a list.
  if (probabilities === undefined || Array.isArray(probabilities)) return answer as object;
  const labels = (task?.options['labels'] ?? Object.keys(probabilities)) as readonly string[];
  const probs = labels.map((label) => probabilities[label] ?? null);
  return { ...(answer as object), probs, num_classes: probs.length };
}

async function collected(
  chunks: AsyncIterable<AnswerChunk<'infer'>>,
  count: number,
): Promise<Inferred | null> {
  const answers: unknown[] = [];
  let characters = 0;
  let last: InferAnswer | null = null;
  for await (const { piece } of chunks) {
    if (!piece) continue;
    last = piece;
    for (const one of piece.answers) {
      answers.push(one);
      characters += typeof one === 'string' ? one.length : JSON.stringify(one).length;
    }
    if (answers.length > count || characters > MOST_CHARACTERS) throw malformed();
  }
  if (!last) return null;
  if (answers.length !== count) throw malformed();
  return { answers, tokens: last.prompt_tokens };
}

const malformed = (): DomainError =>
  new DomainError('internal_error', 'the worker’s response is not one for these inputs');

/** What a worker says is wrong with an input has no field of its own on the way back. */
function ofInput(error: unknown): unknown {
  const isInputs = error instanceof DomainError && error.code === 'invalid_value';
  return isInputs && error.param === null
    ? new DomainError(error.code, error.message, 'input')
    : error;
}

function checkSize(size: number, inputs: number, dimensions: number | null): void {
  if (dimensions !== null && dimensions !== size)
    throw new DomainError(
      'unsupported',
      `dimensions: the model gives vectors of ${grouped(size)} numbers, and is not trained to be cut to ${grouped(dimensions)}; leave it out`,
      'dimensions',
    );
  if (size * inputs <= MOST_NUMBERS) return;
  throw new DomainError(
    'request_too_large',
    `${grouped(inputs)} vectors of ${grouped(size)} numbers are more than a response holds; send at most ${grouped(Math.floor(MOST_NUMBERS / size))} inputs at once`,
    'input',
  );
}

function refuseTooLarge(records: readonly unknown[], most: number): void {
  const bytes = Buffer.byteLength(JSON.stringify(records));
  if (bytes <= most) return;
  throw new DomainError(
    'request_too_large',
    `input is ${grouped(bytes)} bytes as JSON; the limit is ${grouped(most)}: send fewer inputs at once`,
    'input',
  );
}

/** One by one: millions of numbers as one text would hold everybody else up for seconds, and hundreds of megabytes. */
async function sendEmbeddings(
  response: Response,
  embeddings: readonly (() => unknown)[],
  end: object,
): Promise<void> {
  response.type('json').write('{"object":"list","data":[');
  for (const [index, embedding] of embeddings.entries()) {
    const one = { object: 'embedding', index, embedding: embedding() };
    const isRead = response.write(`${index === 0 ? '' : ','}${JSON.stringify(one)}`);
    if (!isRead) await drained(response);
    if (response.destroyed) return;
  }
  response.end(`],${JSON.stringify(end).slice(1)}`);
}

/** f32 in base64. */
const isVector = (answer: unknown): boolean =>
  typeof answer === 'string' && Buffer.byteLength(answer, 'base64') % 4 === 0;

function numbersOf(base64: unknown): number[] {
  const bytes = Buffer.from(String(base64), 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}
