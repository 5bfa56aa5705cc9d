import { Injectable } from '@nestjs/common';
import {
  DomainError,
  parseBody,
  type ResponseObject,
  type ResponseStreamEvent,
} from '@graft/contracts';
import type { Response } from 'express';
import type { Principal } from '../../auth/principal.js';
import { openStream } from '../../http/event-stream.js';
import { waitForDrain } from '../../http/wait-for-drain.js';
import { newId } from '../../ids.js';
import { log } from '../../log.js';
import type { Chunks } from '../answers/write-answer.js';
import { ChatService } from '../chat.service.js';
import { BackgroundResponses } from './background-responses.js';
import { ResponseBody, responseRequest, type ParsedResponse } from './response-body.js';
import { ResponseClaims } from './response-claims.js';
import { ResponseState, startOf, type EndedResponse } from './response-state.js';
import { StoredResponses } from './stored-responses.js';

/** A response in progress, and how to store it when it ends. */
interface InProgress {
  readonly chunks: Chunks;
  readonly state: ResponseState;
  readonly store: (ended: EndedResponse) => Promise<void>;
}

/** OpenAI's Responses API: answers of chat models in another format. */
@Injectable()
export class ResponsesService {
  constructor(
    private readonly chats: ChatService,
    private readonly stored: StoredResponses,
    private readonly claims: ResponseClaims,
    private readonly background: BackgroundResponses,
  ) {}

  async create(caller: Principal, given: unknown, response: Response): Promise<void> {
    const left = new AbortController();
    response.on('close', () => left.abort());
    const parsed = await this.parsed(caller, given);
    if (parsed.body.background) return this.createInBackground(caller, parsed, response);
    const one = await this.begin(caller, parsed, left.signal);
    if (parsed.stream) return writeEvents(response, one);
    const whole = await wholeOf(one, left.signal);
    if (whole) response.json(whole);
  }

  /**
   * Returns what `POST /v1/responses` returns without `stream`; `null` if `left` aborts first.
   * @throws DomainError also for background responses
   */
  async responseObject(
    caller: Principal,
    given: unknown,
    left: AbortSignal,
  ): Promise<ResponseObject | null> {
    const parsed = await this.parsed(caller, given);
    if (parsed.body.background)
      throw new DomainError('unsupported', 'background is not supported here', 'background');
    return wholeOf(await this.begin(caller, parsed, left), left);
  }

  private async parsed(caller: Principal, given: unknown): Promise<ParsedResponse> {
    const body = parseBody(ResponseBody, given);
    const { previous_response_id: previous } = body;
    const earlier = previous ? await this.stored.conversation(caller, previous) : [];
    const parsed = responseRequest(body, earlier);
    if (body.background && !isStored(parsed))
      throw new DomainError('invalid_value', 'background: true requires store: true', 'background');
    if (isStored(parsed)) await this.stored.checkSpace(caller, parsed.items);
    return parsed;
  }

  private async begin(
    caller: Principal,
    parsed: ParsedResponse,
    left: AbortSignal,
  ): Promise<InProgress> {
    return {
      chunks: await this.chats.chunks(caller, parsed, left),
      state: new ResponseState(startOf(parsed)),
      store: async (ended) => {
        if (isStored(parsed)) await this.stored.add(caller, ended.response, parsed.items);
      },
    };
  }

  /** Stores a queued response. With `stream`, this process generates it immediately, even if the client leaves. */
  private async createInBackground(
    caller: Principal,
    parsed: ParsedResponse,
    response: Response,
  ): Promise<void> {
    const { body, items } = parsed;
    await this.chats.checked(caller, parsed);
    const queued = { response: startOf(parsed), input: items, request: { ...body, input: '' } };
    if (!parsed.stream) {
      await this.claims.add(caller, queued);
      this.background.scan();
      response.json(queued.response);
      return;
    }
    const claim = await this.claims.add(caller, queued, newId('responder-'));
    openStream(response);
    await this.background.run(claim, (events) => write(response, events));
    response.end();
  }
}

const isStored = ({ body }: ParsedResponse): boolean => body.store ?? true;

/** Generates and stores the whole response. Returns null if `left` aborts first. */
async function wholeOf(
  { chunks, state, store }: InProgress,
  left: AbortSignal,
): Promise<ResponseObject | null> {
  for await (const { piece } of chunks) if (piece) state.add(piece);
  if (left.aborted) return null;
  const ended = state.end();
  await store(ended);
  return ended.response;
}

/** Writes events, unless the client has left. */
async function write(response: Response, events: readonly ResponseStreamEvent[]): Promise<void> {
  if (events.length === 0 || response.destroyed) return;
  const text = events.map((one) => `event: ${one.type}\ndata: ${JSON.stringify(one)}\n\n`);
  if (!response.write(text.join(''))) await waitForDrain(response);
}

/**
 * Writes the events of the response. The headers are sent with the first chunk, so that an early failure is a plain
 * HTTP error; a later one is an `error` event. The response is stored before its last event is sent, so that the client
 * can continue it immediately.
 */
async function writeEvents(
  response: Response,
  { chunks, state, store }: InProgress,
): Promise<void> {
  try {
    for await (const { phase, piece } of chunks) {
      if (!response.headersSent) {
        openStream(response);
        await write(response, state.start());
      }
      if (phase) response.write(`: ${phase.replaceAll(/[\r\n]/g, ' ')}\n\n`);
      if (piece) await write(response, state.add(piece));
    }
    if (response.destroyed) return;
    const ended = state.end();
    await store(ended);
    await write(response, ended.events);
  } catch (error) {
    if (!response.headersSent) throw error;
    const failed = state.fail(
      error instanceof DomainError
        ? error
        : new DomainError('internal_error', 'the response was interrupted'),
    );
    await store(failed).catch((reason: unknown) =>
      log.warn({ err: reason, response: failed.response.id }, 'could not store a failed response'),
    );
    await write(response, failed.events);
  }
  response.end();
}
