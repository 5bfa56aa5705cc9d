import { Injectable } from '@nestjs/common';
import { DomainError, parseBody, type TranscriptionEvent } from '@graft/contracts';
import type { GenerateChunk } from '@graft/contracts/grpc';
import type { Request, Response } from 'express';
import { randomInt } from 'node:crypto';
import type { Principal } from '../auth/principal.js';
import { defaultOptions } from '../catalog/plugins.js';
import { readUpload } from '../files/upload.js';
import { drained } from '../http/drained.js';
import { openStream } from '../http/event-stream.js';
import { ModelsService, type Resolved } from '../models/models.service.js';
import { AnswerChunks, askedModel, type Question } from './answer-chunks.js';
import { NO_CHAT, taskOf } from './inference.service.js';
import { cutRecord, mediaPart, type MediaFile } from './media-input.js';
import { checkUse } from './other-use.js';
import { TranscriptionBody } from './transcription-body.js';
import { srt, ToldSegment, ToldSound, verbose, vtt, type Transcribed } from './transcription-formats.js'; // prettier-ignore

/** Of a sound of the longest, heard and written a second at a time: what a worker says beyond counts nothing. */
const MOST_TOKENS = 2_000_000;

/** OpenAI's endpoint for what is said in sounds, by the road that chats take. */
@Injectable()
export class TranscriptionService {
  constructor(
    private readonly models: ModelsService,
    private readonly chunks: AnswerChunks,
  ) {}

  async transcribe(caller: Principal, request: Request, response: Response): Promise<void> {
    const { fields, content: sound } = await readUpload(request, mediaPart, { beside: 'model' });
    const asked = parseBody(TranscriptionBody, fields);
    const model = await this.models.resolve(caller, asked.model, 'model');
    checkUse(model, 'transcribe');
    const left = new AbortController();
    response.on('close', () => left.abort());
    const tokensOf = (chunk: GenerateChunk): number =>
      Math.min(chunk.promptTokens + chunk.completionTokens, MOST_TOKENS);
    const question = questionOf(model, sound, asked);
    const { pieces } = sound;
    const chunks = this.chunks.of(caller, question, left.signal, tokensOf, pieces);
    if (asked.stream === 'true') await stream(response, chunks);
    else await whole(response, chunks, asked);
  }
}

function questionOf(model: Resolved, sound: MediaFile, asked: TranscriptionBody): Question {
  const task = taskOf(model, 'transcribe');
  const { language = null, prompt = null, temperature, response_format: format } = asked;
  const segments = format !== 'json' && format !== 'text';
  const transcript = { language, prompt, temperature, seed: randomInt(2 ** 31), segments };
  const inference = {
    task,
    optionsJson: JSON.stringify(model.task?.options ?? defaultOptions(task)),
    inputsJson: JSON.stringify([cutRecord('audio')]),
    transcriptJson: JSON.stringify(transcript),
    mediaBytes: sound.bytes,
  };
  return { ...NO_CHAT, ...askedModel(model), inference };
}

interface Heard {
  readonly text: string;
  /** Its segments, and last what is known of the sound, as JSON. */
  readonly told: readonly string[];
  readonly last: GenerateChunk;
}

/** Null where the client leaves before. @param tell of what is new */
async function heard(
  chunks: AsyncIterable<GenerateChunk>,
  tell: (chunk: GenerateChunk) => Promise<void> = () => Promise.resolve(),
): Promise<Heard | null> {
  let text = '';
  let last: GenerateChunk | undefined;
  const told: string[] = [];
  for await (const chunk of chunks) {
    text += chunk.text;
    last = chunk;
    told.push(...(chunk.inferred?.json ?? []));
    await tell(chunk);
  }
  return last ? { text, told, last } : null;
}

function read({ text, told }: Heard): Transcribed {
  try {
    const all = told.map((one): unknown => JSON.parse(one));
    const segments = all.slice(0, -1).map((one) => ToldSegment.parse(one));
    return { ...ToldSound.parse(all.at(-1)), text, segments };
  } catch {
    throw new DomainError('internal_error', 'the worker’s response is no transcript');
  }
}

async function whole(
  response: Response,
  chunks: AsyncIterable<GenerateChunk>,
  { response_format: format, temperature }: TranscriptionBody,
): Promise<void> {
  const found = await heard(chunks);
  if (!found || response.destroyed) return;
  switch (format) {
    case 'json':
      return void response.json({ text: found.text, usage: usage(found.last) });
    case 'verbose_json':
      return void response.json(verbose(read(found), temperature));
    case 'text':
      return void response.type('text/plain').send(`${found.text}\n`);
    case 'srt':
      return void response.type('text/plain').send(srt(read(found).segments));
    case 'vtt':
      return void response.type('text/vtt').send(vtt(read(found).segments));
  }
}

/** The headers wait for the first chunk, so that an early failure is still a plain HTTP error. */
async function stream(response: Response, chunks: AsyncIterable<GenerateChunk>): Promise<void> {
  const write = (event: TranscriptionEvent): boolean =>
    response.write(`data: ${JSON.stringify(event)}\n\n`);
  try {
    const found = await heard(chunks, async ({ phase, text }) => {
      if (!response.headersSent) openStream(response);
      if (phase) response.write(`: ${phase.replaceAll(/[\r\n]/g, ' ')}\n\n`);
      if (text !== '' && !write({ type: 'transcript.text.delta', delta: text }))
        await drained(response);
    });
    if (!found || response.destroyed) return;
    write({ type: 'transcript.text.done', text: found.text, usage: usage(found.last) });
    response.write('data: [DONE]\n\n');
  } catch (error) {
    if (!response.headersSent) throw error;
    const interrupted = new DomainError('internal_error', 'the response was interrupted');
    const told = error instanceof DomainError ? error : interrupted;
    response.write(`data: ${JSON.stringify(told.body())}\n\n`);
  }
  response.end();
}

const usage = ({ promptTokens, completionTokens }: GenerateChunk) => ({
  type: 'tokens' as const,
  input_tokens: promptTokens,
  output_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
});
