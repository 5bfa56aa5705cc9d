// Transcriptions through the official SDK, with a worker whose answers the test scripts; test/e2e uses a real
// one.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ModelResponse } from '@graft/contracts/grpc';
import type OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { tone, writeClips, writeTinyAudioBase, writeTinySpeechBase, writeTinyCtcBase } from '../../../test/tiny-audio.js'; // prettier-ignore
import { importBase, startTestApi, until, type TestApi } from './fixture.js';
import type { JobObject, TranscribeAnswer, TranscriptSegment } from '@graft/contracts';
import { ScriptedWorker, started, step, type WorkerRequest } from './scripted-worker.js';

let api: TestApi;
let dir: string;
let transcriptions: OpenAI.Audio.Transcriptions;
let worker: ScriptedWorker;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'graft-transcriptions-'));
  api = await startTestApi();
  ({ transcriptions } = api.client.audio);
  await importBase(api);
  await importBase(api, 'whisper', writeTinySpeechBase(join(dir, 'whisper')));
  worker = await new ScriptedWorker(api).connect();
});
afterAll(async () => {
  worker?.vanish();
  await api?.close();
  rmSync(dir, { recursive: true, force: true });
});
afterEach(() => until(async () => (await api.query('SELECT 1 FROM answer')).length === 0));

const bytes = tone('low', 0, 0.2);
const file = (): File => new File([new Uint8Array(bytes)], 'low.wav');

const segment = (start: number, end: number, text: string): TranscriptSegment => ({
  seek: 0,
  start,
  end,
  text,
  tokens: [3, 4],
  avg_logprob: -0.25,
  no_speech_prob: null,
});
const SOUND = { seconds: 3661.25, language: 'en' };

function sendPart(
  { id }: WorkerRequest,
  text: string,
  { segments = [], sound, ...more }: Partial<TranscribeAnswer & ModelResponse> = {},
): void {
  const usage = { prompt_tokens: 10, completion_tokens: 4 };
  worker.reply(id, { text, segments, sound, ...usage }, { last: false, ...more });
}

/** Waits for a request and answers it in two messages. */
async function answered<T>(asked: Promise<T>): Promise<{ found: T; question: WorkerRequest }> {
  const question = await worker.nextRequest();
  sendPart(question, 'One day,', { segments: [segment(0, 1.5, ' One day,')] });
  sendPart(question, ' two.', {
    last: true,
    segments: [segment(3600.001, 3661.25, ' two ---> \r.')],
    sound: SOUND,
  });
  return { found: await asked, question };
}

describe('a request', () => {
  it('is sent to the worker with the unchanged audio', async () => {
    const { question } = await answered(
      transcriptions.create({
        model: 'whisper',
        file: file(),
        language: 'de',
        prompt: 'Graft, PEFT',
        temperature: 0.4,
      }),
    );
    expect(question).toMatchObject({ task: 'speech_seq_2_seq', options: { language: null } });
    expect((await worker.mediaOf(question)).equals(bytes)).toBe(true);
    expect(question).toMatchObject({
      language: 'de',
      prompt: 'Graft, PEFT',
      temperature: 0.4,
      seed: expect.any(Number) as number,
      segments: false,
    });
  });

  it.each([
    [{ model: 'tiny' }, 'model', /returns text or vectors, not transcripts of audio; use POST/],
    [{ model: 'nothing' }, 'model', /nothing/],
    [{ language: 'German' }, 'language', /expected a code such as "en"/],
    [{ temperature: 2 }, 'temperature', /2|1/],
    [{ response_format: 'diarized_json' }, 'response_format', /json/],
    [{ response_format: 'srt', stream: true }, 'stream', /only json and text can be streamed/],
    [{ timestamp_granularities: ['word'] }, 'timestamp_granularities[]', /word is not supported/],
    [{ timestamp_granularities: ['word', 'segment'] }, 'timestamp_granularities[]', /word is not/],
    [{ include: ['logprobs'] }, 'include[]', /no log-probabilities/],
    [{ prompt: 'a'.repeat(4096) }, 'prompt', /at most 4095 bytes/],
    [{ best_of: 5 }, 'best_of', /best_of/],
  ])('is rejected with its param: %j', async (changes, param, message) => {
    const body = { model: 'whisper', file: file(), ...changes };
    await expect(transcriptions.create(body as never)).rejects.toMatchObject({
      status: expect.toSatisfy((status: number) => status === 400 || status === 404) as number,
      param,
      message: expect.stringMatching(message) as string,
    });
  });

  it('requires a file of at most 25 MB', async () => {
    const form = new FormData();
    form.set('model', 'whisper');
    const headers = { authorization: `Bearer ${api.apiKey}` };
    const url = `${api.url}/v1/audio/transcriptions`;
    const without = await fetch(url, { method: 'POST', headers, body: form });
    expect(await without.json()).toMatchObject({ error: { param: 'file' } });
    const json = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'whisper' }),
    });
    expect(await json.json()).toMatchObject({
      error: { message: expect.stringContaining('the parts `file` and `model`') as string },
    });
    const large = new File([new Uint8Array((25 << 20) + 1)], 'large.wav');
    await expect(transcriptions.create({ model: 'whisper', file: large })).rejects.toMatchObject({
      status: 413,
      param: 'file',
      message: expect.stringContaining(
        'larger than the limit of 26,214,400 bytes (25 MB)',
      ) as string,
    });
    const empty = transcriptions.create({ model: 'whisper', file: new File([], 'empty.wav') });
    await expect(empty).rejects.toMatchObject({ status: 400, param: 'file' });
  });

  it('together with others may exceed the send buffer of a worker, and the stream continues', async () => {
    const large = new Uint8Array(Buffer.alloc(7 << 20, 'all of it'));
    const all = [1, 2, 3].map(() =>
      transcriptions.create({ model: 'whisper', file: new File([large], 'large.wav') }),
    );
    for (let i = 0; i < 3; i++) {
      const question = await worker.nextRequest();
      expect((await worker.mediaOf(question)).equals(large)).toBe(true);
      sendPart(question, 'transcript', { last: true });
    }
    for (const one of all) expect(await one).toMatchObject({ text: 'transcript' });
    expect(worker.ended).toBeNull();
  });

  it('is not sent further after the worker rejects it', async () => {
    const large = new File([new Uint8Array(7 << 20)], 'large.wav');
    const refused = transcriptions.create({ model: 'whisper', file: large });
    const question = await worker.nextRequest();
    sendPart(question, '', { last: true, errorCode: 'user_error', errorMessage: 'no' });
    await expect(refused).rejects.toMatchObject({
      message: expect.stringContaining('no') as string,
    });
    const { found } = await answered(transcriptions.create({ model: 'whisper', file: file() }));
    expect(found).toMatchObject({ text: 'One day, two.' });
  });

  it('to classify is rejected for a transcription model', async () => {
    const asked = api.client.post('/classify', { body: { model: 'whisper', input: 'a' } });
    await expect(asked).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('use POST /v1/audio/transcriptions') as string,
    });
  });
});

describe('models', () => {
  it('that can transcribe include bases with a generating head, without training', async () => {
    const folders = {
      letters: writeTinyCtcBase(join(dir, 'letters')),
      ast: writeTinyAudioBase(join(dir, 'ast'), 'audio-spectrogram-transformer'),
    };
    for (const [id, folder] of Object.entries(folders)) await importBase(api, id, folder);
    const usesOf = async (id: string): Promise<unknown> =>
      (await api.get<{ graft: { uses: unknown } }>(`/models/${id}`)).graft.uses;
    expect(await usesOf('whisper')).toEqual(['transcribe']);
    expect(await usesOf('letters')).toEqual(['transcribe']);
    expect(await usesOf('ast')).toEqual([]);
    const { found, question } = await answered(
      transcriptions.create({ model: 'letters', file: file() }),
    );
    expect(question.task).toBe('ctc');
    expect(found.text).toBe('One day, two.');
    await expect(transcriptions.create({ model: 'ast', file: file() })).rejects.toMatchObject({
      status: 400,
      message: expect.stringMatching(/without a use before training/) as string,
    });
  });

  /** Creates a CTC job without a known vocabulary; also returns a function that creates similar jobs. */
  async function createOfLetters(model: string) {
    const clips = readFileSync(writeClips(join(dir, 'sounds.jsonl'), 4, 'text'));
    const { id: training_file } = await api.client.files.create({
      file: new File([clips], 'sounds.jsonl'),
      purpose: 'fine-tune',
    });
    const asked = { training_file, peft: { peft_type: 'LORA' }, graft: { task: 'ctc' } };
    const create = (of: string) =>
      api.post<JobObject>('/fine_tuning/jobs', { ...asked, model: of });
    const { id } = await create(model);
    // As creation leaves it if reading the data times out.
    await api.query(
      `UPDATE job SET spec = jsonb_set(spec, '{task_options,letters}', 'null') WHERE id = $1`,
      [id],
    );
    return { id, create };
  }

  it('whose vocabulary was determined during training use the vocabulary of their files', async () => {
    await importBase(api, 'bare', writeTinyAudioBase(join(dir, 'bare'), 'wav2vec2'));
    const { id, create } = await createOfLetters('bare');
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1));
    const letters = [' ', ...'hilow'];
    const tokens = ['|', ...'hilow', '[UNK]', '[PAD]'];
    const vocabulary = JSON.stringify(Object.fromEntries(tokens.map((token, at) => [token, at])));
    await worker.finish(lease, 1, {}, { 'vocab.json': vocabulary });
    const { fine_tuned_model: model } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    const { question } = await answered(
      transcriptions.create({ model: model as string, file: file() }),
    );
    expect(question.options).toMatchObject({ letters });
    const next = await create(model as string);
    expect(next.graft['task_options']).toMatchObject({ letters, vocabulary_from_data: false });
    await api.client.fineTuning.jobs.cancel(next.id);
  });

  it('with a vocabulary file that is too large to read are rejected, with its size', async () => {
    const { id } = await createOfLetters('bare');
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1));
    await worker.finish(lease, 1, {}, { 'vocab.json': `{"a":0}${' '.repeat(5e6)}` });
    const { fine_tuned_model: model } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    await expect(
      transcriptions.create({ model: model as string, file: file() }),
    ).rejects.toMatchObject({
      status: 400,
      code: 'invalid_model',
      message: expect.stringContaining('vocab.json has 5000007 bytes') as string,
    });
  });
});

describe('a response', () => {
  const create = (response_format: OpenAI.AudioResponseFormat) =>
    answered(
      transcriptions.create({
        model: 'whisper',
        file: file(),
        response_format,
      }) as Promise<unknown>,
    );
  const usage = { type: 'tokens', input_tokens: 10, output_tokens: 4, total_tokens: 14 };

  it('is text, or JSON with the usage', async () => {
    expect((await create('json')).found).toEqual({ text: 'One day, two.', usage });
    expect((await create('text')).found).toBe('One day, two.\n');
  });

  it('includes timestamps in the formats that have them', async () => {
    const { found, question } = await create('verbose_json');
    expect(question).toMatchObject({ segments: true });
    expect(found).toEqual({
      task: 'transcribe',
      language: 'en',
      duration: 3661.25,
      text: 'One day, two.',
      usage: { type: 'duration', seconds: 3662 },
      segments: [
        expect.objectContaining({ id: 0, start: 0, end: 1.5, text: ' One day,', tokens: [3, 4] }),
        expect.objectContaining({ id: 1, avg_logprob: -0.25, no_speech_prob: null, temperature: 0 }), // prettier-ignore
      ],
    });
    expect((await create('srt')).found).toBe(
      '1\n00:00:00,000 --> 00:00:01,500\nOne day,\n\n2\n01:00:00,001 --> 01:01:01,250\ntwo -> .\n\n',
    );
    expect((await create('vtt')).found).toBe(
      'WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nOne day,\n\n01:00:00.001 --> 01:01:01.250\ntwo -> .\n\n',
    );
  });

  it('is streamed', async () => {
    const { found } = await answered(
      transcriptions.create({ model: 'whisper', file: file(), stream: true }),
    );
    const events: unknown[] = [];
    for await (const event of found) events.push(event);
    const deltas = events.slice(0, -1) as OpenAI.Audio.TranscriptionTextDeltaEvent[];
    expect(deltas.map(({ delta }) => delta).join('')).toBe('One day, two.');
    expect(events.at(-1)).toEqual({ type: 'transcript.text.done', text: 'One day, two.', usage });
  });

  it('is an error if the worker reports one, before the first chunk or after it', async () => {
    const early = transcriptions.create({ model: 'whisper', file: file(), stream: true });
    const refused = expect(early).rejects.toMatchObject({ status: 400, message: expect.stringContaining('got MP3') as string }); // prettier-ignore
    const error = {
      last: true,
      errorCode: 'invalid_value',
      errorMessage: 'file: expected WAV or FLAC, got MP3',
    };
    sendPart(await worker.nextRequest(), '', error);
    await refused;
    const asked = transcriptions.create({ model: 'whisper', file: file(), stream: true });
    const question = await worker.nextRequest();
    sendPart(question, 'One');
    const stream = await asked;
    sendPart(question, '', { ...error, errorCode: 'no_memory', errorMessage: 'full' });
    await expect(
      (async () => {
        for await (const event of stream) void event;
      })(),
    ).rejects.toThrow('full');
  });

  it("is an error if the worker's segments are invalid", async () => {
    const asked = transcriptions.create({ model: 'whisper', file: file(), response_format: 'srt' });
    const refused = expect(asked).rejects.toMatchObject({ status: 500 });
    sendPart(await worker.nextRequest(), 'a', {
      last: true,
      segments: [{ start: 0 } as TranscriptSegment],
      sound: SOUND,
    });
    await refused;
  });

  it('is cancelled if the client disconnects', async () => {
    const left = new AbortController();
    const asked = transcriptions.create(
      { model: 'whisper', file: file(), stream: true },
      { signal: left.signal },
    );
    const { id } = await worker.nextRequest();
    left.abort();
    await expect(asked).rejects.toThrow();
    await until(() => worker.cancelled.includes(id));
  });

  it('logs no failure if the client disconnects in the middle', async () => {
    const failures = (): number =>
      readFileSync(process.env['GRAFT_LOG_FILE'] as string, 'utf8').split('request failed').length;
    const before = failures();
    const left = new AbortController();
    const asked = transcriptions.create(
      { model: 'whisper', file: file() },
      { signal: left.signal },
    );
    const question = await worker.nextRequest();
    sendPart(question, 'One');
    // This one arrives after the chunk.
    await answered(transcriptions.create({ model: 'whisper', file: file() }));
    left.abort();
    await expect(asked).rejects.toThrow();
    await until(async () => (await api.query('SELECT 1 FROM answer')).length === 0);
    // By now, any log line about the disconnected client has been written.
    await answered(transcriptions.create({ model: 'whisper', file: file() }));
    expect(failures()).toBe(before);
  });
});
