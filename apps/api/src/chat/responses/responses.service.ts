import { Injectable } from '@nestjs/common';
import { DomainError, type ResponseStreamEvent } from '@graft/contracts';
import type { Response } from 'express';
import type { Principal } from '../../auth/principal.js';
import { openStream } from '../../http/event-stream.js';
import { waitForDrain } from '../../http/wait-for-drain.js';
import type { Chunks } from '../answers/write-answer.js';
import { ChatService } from '../chat.service.js';
import { parseResponse } from './response-body.js';
import { ResponseState } from './response-state.js';

/** OpenAI's Responses API: answers of chat models in another format. */
@Injectable()
export class ResponsesService {
  constructor(private readonly chats: ChatService) {}

  async create(caller: Principal, body: unknown, response: Response): Promise<void> {
    const parsed = parseResponse(body);
    const left = new AbortController();
    response.on('close', () => left.abort());
    const chunks = await this.chats.chunks(caller, parsed, left.signal);
    const state = new ResponseState(parsed);
    if (parsed.stream) await writeEvents(response, chunks, state);
    else await writeWhole(response, chunks, state);
  }
}

/** Writes the response as one JSON body. */
async function writeWhole(response: Response, chunks: Chunks, state: ResponseState): Promise<void> {
  for await (const { piece } of chunks) if (piece) state.add(piece);
  if (!response.destroyed) response.json(state.end().response);
}

/**
 * Writes the events of the response. The headers are sent with the first chunk, so that an early failure is a plain
 * HTTP error; a later one is an `error` event.
 */
async function writeEvents(
  response: Response,
  chunks: Chunks,
  state: ResponseState,
): Promise<void> {
  const write = async (events: readonly ResponseStreamEvent[]): Promise<void> => {
    if (events.length === 0) return;
    const text = events.map((one) => `event: ${one.type}\ndata: ${JSON.stringify(one)}\n\n`);
    if (!response.write(text.join(''))) await waitForDrain(response);
  };
  try {
    for await (const { phase, piece } of chunks) {
      if (!response.headersSent) {
        openStream(response);
        await write(state.start());
      }
      if (phase) response.write(`: ${phase.replaceAll(/[\r\n]/g, ' ')}\n\n`);
      if (piece) await write(state.add(piece));
    }
    if (response.destroyed) return;
    await write(state.end().events);
  } catch (error) {
    if (!response.headersSent) throw error;
    await write(
      state.fail(
        error instanceof DomainError
          ? error
          : new DomainError('internal_error', 'the response was interrupted'),
      ),
    );
  }
  response.end();
}
