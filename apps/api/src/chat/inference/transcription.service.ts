import { Injectable } from '@nestjs/common';
import {
  DomainError,
  parseBody,
  readRequest,
  type AudioFacts,
  type TranscribeAnswer,
  type TranscribeRequest,
  type TranscriptionEvent,
  type TranscriptSegment,
} from '@graft/contracts';
import type { Request, Response } from 'express';
import { randomInt } from 'node:crypto';
import type { Principal } from '../../auth/principal.js';
import { defaultOptions } from '../../catalog/plugins.js';
import { readUpload } from '../../files/upload.js';
import { waitForDrain } from '../../http/wait-for-drain.js';
import { openStream } from '../../http/event-stream.js';
import { ModelsService, type Resolved } from '../../models/models.service.js';
import { AnswerChunks, type AnswerChunk } from '../answers/answer-chunks.js';
import { taskOf } from './inference.service.js';
import { readMediaPart } from './media-input.js';
import { checkUse } from '../model-checks.js';
import { TranscriptionBody } from './transcription-body.js';
import { srt, verboseJson, vtt, type Transcribed } from './transcription-formats.js';

/**
 * Tokens for the longest possible audio, transcribed in steps of one second. More tokens reported by a worker are not
 * counted.
 */
const MOST_TOKENS = 2_000_000;

/** Handles OpenAI's transcription endpoint. Requests go to workers in the same way as chats. */
@Injectable()
export class TranscriptionService {
  constructor(
    private readonly models: ModelsService,
    private readonly chunks: AnswerChunks,
  ) {}

  async transcribe(caller: Principal, request: Request, response: Response): Promise<void> {
    const { fields, content: sound } = await readUpload(request, readMediaPart, {
      otherPart: 'model',
    });
    const parsed = parseBody(TranscriptionBody, fields);
    const model = await this.models.resolve(caller, parsed.model, 'model');
    checkUse(model, 'transcribe');
    const left = new AbortController();
    response.on('close', () => left.abort());
    const tokensOf = (piece: TranscribeAnswer): number =>
      Math.min(piece.prompt_tokens + piece.completion_tokens, MOST_TOKENS);
    const payload = payloadOf(model, parsed);
    const question = { kind: 'transcribe' as const, payload, model, file: sound };
    const chunks = this.chunks.of(caller, question, left.signal, tokensOf);
    if (parsed.stream === 'true') await streamTranscript(response, chunks);
    else await writeTranscript(response, chunks, parsed);
  }
}

function payloadOf(model: Resolved, parsed: TranscriptionBody): TranscribeRequest {
  const task = taskOf(model, 'transcribe');
  const { language = null, prompt = null, response_format: format } = parsed;
  const segments = format !== 'json' && format !== 'text';
  const options = model.task?.options ?? defaultOptions(task);
  const seed = randomInt(2 ** 31);
  return readRequest('transcribe', { ...parsed, task, options, language, prompt, seed, segments });
}

interface CollectedTranscript {
  readonly text: string;
  readonly segments: readonly TranscriptSegment[];
  readonly sound: AudioFacts | undefined;
  readonly usage: ReturnType<typeof usage>;
}

type Chunks = AsyncIterable<AnswerChunk<'transcribe'>>;

/**
 * Collects a transcript. Returns null if the client disconnects before.
 * @param report called with each new chunk
 */
async function collectTranscript(
  chunks: Chunks,
  report: (chunk: AnswerChunk<'transcribe'>) => Promise<void> = () => Promise.resolve(),
): Promise<CollectedTranscript | null> {
  let text = '';
  let last: TranscribeAnswer | null = null;
  const segments: TranscriptSegment[] = [];
  for await (const chunk of chunks) {
    const { piece } = chunk;
    if (piece) {
      text += piece.text;
      last = piece;
      segments.push(...piece.segments);
    }
    await report(chunk);
  }
  return last && { text, segments, sound: last.sound, usage: usage(last) };
}

function transcriptOf({ text, segments, sound }: CollectedTranscript): Transcribed {
  if (!sound) throw new DomainError('internal_error', 'the worker’s response is not a transcript');
  return { ...sound, text, segments };
}

async function writeTranscript(
  response: Response,
  chunks: Chunks,
  { response_format: format, temperature }: TranscriptionBody,
): Promise<void> {
  const transcript = await collectTranscript(chunks);
  if (!transcript || response.destroyed) return;
  switch (format) {
    case 'json':
      return void response.json({ text: transcript.text, usage: transcript.usage });
    case 'verbose_json':
      return void response.json(verboseJson(transcriptOf(transcript), temperature));
    case 'text':
      return void response.type('text/plain').send(`${transcript.text}\n`);
    case 'srt':
      return void response.type('text/plain').send(srt(transcriptOf(transcript).segments));
    case 'vtt':
      return void response.type('text/vtt').send(vtt(transcriptOf(transcript).segments));
  }
}

/**
 * Streams the transcript. The headers are sent with the first chunk, so that an early failure is a plain HTTP error.
 */
async function streamTranscript(response: Response, chunks: Chunks): Promise<void> {
  const write = (event: TranscriptionEvent): boolean =>
    response.write(`data: ${JSON.stringify(event)}\n\n`);
  try {
    const transcript = await collectTranscript(chunks, async ({ phase, piece }) => {
      if (!response.headersSent) openStream(response);
      if (phase) response.write(`: ${phase.replaceAll(/[\r\n]/g, ' ')}\n\n`);
      const delta = piece?.text ?? '';
      if (delta !== '' && !write({ type: 'transcript.text.delta', delta }))
        await waitForDrain(response);
    });
    if (!transcript || response.destroyed) return;
    write({ type: 'transcript.text.done', text: transcript.text, usage: transcript.usage });
    response.write('data: [DONE]\n\n');
  } catch (error) {
    if (!response.headersSent) throw error;
    const interrupted = new DomainError('internal_error', 'the response was interrupted');
    const failure = error instanceof DomainError ? error : interrupted;
    response.write(`data: ${JSON.stringify(failure.body())}\n\n`);
  }
  response.end();
}

const usage = ({ prompt_tokens, completion_tokens }: TranscribeAnswer) => ({
  type: 'tokens' as const,
  input_tokens: prompt_tokens,
  output_tokens: completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
});
