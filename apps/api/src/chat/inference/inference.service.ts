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
import { waitForDrain } from '../../http/wait-for-drain.js';
import { newId } from '../../ids.js';
import { ModelsService, type Resolved } from '../../models/models.service.js';
import { AnswerChunks, type AnswerChunk } from '../answers/answer-chunks.js';
import {
  ClassifyBody,
  ClassifyFields,
  EmbeddingsBody,
  EmbeddingsFields,
  embeddingsInput,
  listInputs,
} from './inference-body.js';
import {
  jsonMediaRequest,
  readMediaRequest,
  type MediaFile,
  type MediaRequest,
} from './media-input.js';
import { checkUse } from '../model-checks.js';

/** Maximum number of values in one response. OpenAI's longest response has 2,048 vectors of 3,072 values. */
const MOST_NUMBERS = 8 * 1024 * 1024;
/** Maximum number of values in a line of a batch, which is serialized as a whole. */
const MOST_BATCH_NUMBERS = 256 * 1024;
/** Maximum characters that a worker may return: base64 of that many f32 values, and the same for labels. */
const MOST_CHARACTERS = 6 * MOST_NUMBERS;
/** Maximum number of tokens of an input (the trainer's limit). More tokens reported by a worker are not counted. */
const MOST_TOKENS = 8192;

interface EndpointRequest {
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
  /** One answer for each input, in order. */
  readonly answers: readonly unknown[];
  readonly tokens: number;
}

/** Response of the embeddings endpoint. Its vectors are converted one by one. */
interface Embeddings {
  data(): Generator<object>;
  /** The fields after `data`. */
  readonly end: object;
}

const EMBEDDINGS = { json: EmbeddingsBody, input: embeddingsInput, fields: EmbeddingsFields };
const CLASSIFICATIONS = {
  json: ClassifyBody,
  input: ({ input }: ClassifyBody): unknown => input,
  fields: ClassifyFields,
};

/** Embeddings and classification. Requests go to workers in the same way as chats. */
@Injectable()
export class InferenceService {
  constructor(
    private readonly models: ModelsService,
    private readonly chunks: AnswerChunks,
  ) {}

  /** Handles OpenAI's embeddings endpoint. */
  async embed(
    caller: Principal,
    { request, body }: EndpointRequest,
    response: Response,
  ): Promise<void> {
    const wanted = await readMediaRequest(request, body, EMBEDDINGS);
    const found = await this.embeddings(caller, wanted, leftBy(response));
    if (found && !response.destroyed) await sendEmbeddings(response, found);
  }

  /** Returns what `POST /v1/embeddings` returns for a JSON body; `null` if `left` aborts first. */
  async embeddingsObject(
    caller: Principal,
    body: unknown,
    left: AbortSignal,
  ): Promise<object | null> {
    const found = await this.embeddings(caller, jsonMediaRequest(body, EMBEDDINGS), left);
    return found && { object: 'list', data: [...found.data()], ...found.end };
  }

  private async embeddings(
    caller: Principal,
    { parsed, inputFor, file }: MediaRequest<EmbeddingsBody | EmbeddingsFields>,
    left: AbortSignal,
  ): Promise<Embeddings | null> {
    const model = await this.resolved(caller, parsed.model, 'embed');
    const { inputs, name } = listInputs(inputFor(taskOf(model, 'embed')));
    const dimensions = 'dimensions' in parsed ? (parsed.dimensions ?? null) : null;
    if (model.base.config) {
      const most = caller.isBatch ? MOST_BATCH_NUMBERS : MOST_NUMBERS;
      checkSize(vectorSize(model.base.config), inputs.length, dimensions, most);
    }
    const found = await this.infer(caller, { model, use: 'embed', inputs, name, file }, left);
    if (!found) return null;
    if (!found.answers.every(isVector)) throw malformed();
    const isBase64 = parsed.encoding_format === 'base64';
    return {
      *data() {
        for (const [index, answer] of found.answers.entries())
          yield {
            object: 'embedding',
            index,
            embedding: isBase64 ? answer : numbersOf(answer),
          };
      },
      end: {
        model: parsed.model,
        usage: { prompt_tokens: found.tokens, total_tokens: found.tokens },
      },
    };
  }

  /** Handles vLLM's classification endpoint. */
  async classify(
    caller: Principal,
    { request, body }: EndpointRequest,
    response: Response,
  ): Promise<void> {
    const wanted = await readMediaRequest(request, body, CLASSIFICATIONS);
    const found = await this.classification(caller, wanted, leftBy(response));
    if (found && !response.destroyed) response.json(found);
  }

  /** Returns what `POST /v1/classify` returns for a JSON body; `null` if `left` aborts first. */
  classificationObject(
    caller: Principal,
    body: unknown,
    left: AbortSignal,
  ): Promise<object | null> {
    return this.classification(caller, jsonMediaRequest(body, CLASSIFICATIONS), left);
  }

  private async classification(
    caller: Principal,
    { parsed, inputFor, file }: MediaRequest<ClassifyBody | ClassifyFields>,
    left: AbortSignal,
  ): Promise<object | null> {
    const model = await this.resolved(caller, parsed.model, 'classify');
    const { inputs, name } = listInputs(inputFor(model.task?.name));
    const found = await this.infer(caller, { model, use: 'classify', inputs, name, file }, left);
    return (
      found && {
        id: newId('classify-'),
        object: 'list',
        created: Math.floor(Date.now() / 1000),
        model: parsed.model,
        data: found.answers.map((answer, index) => ({ index, ...labelled(answer, model) })),
        usage: { prompt_tokens: found.tokens, total_tokens: found.tokens, completion_tokens: 0 },
      }
    );
  }

  private async resolved(caller: Principal, id: string, use: ModelUse): Promise<Resolved> {
    const model = await this.models.resolve(caller, id, 'model');
    checkUse(model, use);
    return model;
  }

  /** Returns the answers, or null if `left` aborts first. */
  private async infer(
    caller: Principal,
    { model, use, inputs, name, file }: Wanted,
    left: AbortSignal,
  ): Promise<Inferred | null> {
    const task = taskOf(model, use);
    // A file is the only input and already its record.
    const records = file ? inputs : inputRecords(task, inputs, name);
    refuseTooLarge(records, inputsOfTask(task) === 'tokens' ? MAX_ORDER_BYTES : MAX_MEDIA_ORDER_BYTES); // prettier-ignore
    const options = model.task?.options ?? defaultOptions(task);
    const payload = readRequest('infer', { task, options, inputs: records });
    const question = { kind: 'infer' as const, payload, model, file };
    const most = MOST_TOKENS * inputs.length;
    const tokensOf = (piece: InferAnswer): number => Math.min(piece.prompt_tokens, most);
    const chunks = this.chunks.of(caller, question, left, tokensOf);
    const found = await collectOutput(chunks, inputs.length).catch((error: unknown) => {
      throw ofInput(error);
    });
    return left.aborted ? null : found;
  }
}

/** Returns the task of a model; for a base, its first task with this use. */
export function taskOf({ task, base }: Resolved, use: ModelUse): string {
  const all = tasksUsedTo(use);
  const own = tasksOfBase(base.family ?? '');
  return task?.name ?? all.find((name) => own.includes(name)) ?? all[0] ?? '';
}

/**
 * Adds vLLM's fields to the answer of the task: probabilities in the order of the labels, which an object may not
 * preserve.
 */
function labelled(answer: unknown, { task }: Resolved): object {
  const { probabilities } = answer as { probabilities?: Readonly<Record<string, number>> };
  // Token classification returns a list.
  if (probabilities === undefined || Array.isArray(probabilities)) return answer as object;
  const labels = (task?.options['labels'] ?? Object.keys(probabilities)) as readonly string[];
  const probs = labels.map((label) => probabilities[label] ?? null);
  return { ...(answer as object), probs, num_classes: probs.length };
}

async function collectOutput(
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
  new DomainError('internal_error', 'the worker’s response does not match the inputs');

/** Adds the param `input` to a worker's error about an input, since workers send no param. */
function ofInput(error: unknown): unknown {
  const isInputs = error instanceof DomainError && error.code === 'invalid_value';
  return isInputs && error.param === null
    ? new DomainError(error.code, error.message, 'input')
    : error;
}

function checkSize(size: number, inputs: number, dimensions: number | null, most: number): void {
  if (dimensions !== null && dimensions !== size)
    throw new DomainError(
      'unsupported',
      `dimensions: the model returns vectors of ${grouped(size)} numbers and was not trained for truncation to ${grouped(dimensions)}; omit it`,
      'dimensions',
    );
  if (size * inputs <= most) return;
  throw new DomainError(
    'request_too_large',
    `${grouped(inputs)} vectors of ${grouped(size)} numbers do not fit in one response; send at most ${grouped(Math.floor(most / size))} inputs per request`,
    'input',
  );
}

function refuseTooLarge(records: readonly unknown[], most: number): void {
  const bytes = Buffer.byteLength(JSON.stringify(records));
  if (bytes <= most) return;
  throw new DomainError(
    'request_too_large',
    `input is ${grouped(bytes)} bytes as JSON; the limit is ${grouped(most)}; send fewer inputs per request`,
    'input',
  );
}

/**
 * Writes the vectors one by one: serializing millions of numbers in one string would block other requests for seconds
 * and take hundreds of megabytes.
 */
async function sendEmbeddings(response: Response, { data, end }: Embeddings): Promise<void> {
  response.type('json').write('{"object":"list","data":[');
  let separator = '';
  for (const one of data()) {
    const isRead = response.write(`${separator}${JSON.stringify(one)}`);
    separator = ',';
    if (!isRead) await waitForDrain(response);
    if (response.destroyed) return;
  }
  response.end(`],${JSON.stringify(end).slice(1)}`);
}

/** Returns a signal that aborts when the client disconnects, or has received the response. */
function leftBy(response: Response): AbortSignal {
  const left = new AbortController();
  response.on('close', () => left.abort());
  return left.signal;
}

/** Whether an answer is a vector of f32 values in base64. */
const isVector = (answer: unknown): boolean =>
  typeof answer === 'string' && Buffer.byteLength(answer, 'base64') % 4 === 0;

function numbersOf(base64: unknown): number[] {
  const bytes = Buffer.from(String(base64), 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}
