// Audio, from an archive to served labels: upload with the CLI, training, and every kind of request.
import { createReadStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FileObject, MetricsObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { graft as cli, type Done } from '../cli/graft.js';
import { dataUrl } from '../tiny-images.js';
import {
  PITCHES,
  tone,
  wav,
  writeClips,
  writeTinyAudioBase,
  writeTinySpeechBase,
  writeTinyCtcBase,
  type Pitch,
} from '../tiny-audio.js';
import { Installation } from './installation.js';
import { runSnippets } from './run-snippets.js';

const AST = 'audio-spectrogram-transformer';
const GOLDEN = join(import.meta.dirname, '../golden/audio');

let graft: Installation;

const run = (...args: string[]): Promise<Done> =>
  cli(graft.dir, args, '', { GRAFT_URL: graft.where.url, GRAFT_API_KEY: graft.where.apiKey });

beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await graft.importBase('tiny-ast', writeTinyAudioBase(join(graft.dir, 'tiny-ast'), AST));
});
afterAll(() => graft?.stop());

/** Writes `each` clips of each pitch, in a folder with the name of the pitch. */
function writeFolders(dir: string, each: number): string {
  for (const pitch of PITCHES) {
    mkdirSync(join(dir, pitch), { recursive: true });
    for (let i = 0; i < each; i++)
      writeFileSync(join(dir, pitch, `${i}.wav`), tone(pitch, i, 0.15));
  }
  return dir;
}

const form = (path: string, model: string, bytes: Uint8Array): Promise<Response> => {
  const body = new FormData();
  body.set('model', model);
  body.set('file', new Blob([new Uint8Array(bytes)]), 'sound.wav');
  const headers = { authorization: `Bearer ${graft.where.apiKey}` };
  return fetch(`${graft.where.url}/v1/${path}`, { method: 'POST', body, headers });
};

interface Classified {
  readonly data: readonly { readonly label: string; readonly probs: readonly number[] }[];
}

it('an audio model trains on labels from an archive, and classifies unseen clips', async () => {
  onTestFailed(() => console.error(graft.tails()));
  // the CLI uploads a folder as a zip
  const sent = await run('--json', 'files', 'upload', writeFolders(join(graft.dir, 'tones'), 8));
  expect(sent).toMatchObject({ code: 0 });
  const file = JSON.parse(sent.out) as FileObject;
  expect(file).toMatchObject({
    status: 'processed',
    graft: { records: 24, formats: { audio: 24 }, checked_as: 'audio_cls' },
  });
  const { id } = await graft.createJob({
    model: 'tiny-ast',
    training_file: file.id,
    seed: 7,
    peft: { peft_type: 'LORA', r: 4, target_modules: 'all-linear' },
    hyperparameters: { batch_size: 4, n_epochs: 16 },
    graft: { learning_rate: 0.03, base_dtype: 'f32' },
  });
  const { fine_tuned_model: model } = (await graft.succeeded(id)) as { fine_tuned_model: string };
  const { series, seconds } = await graft.openai.get<MetricsObject>(
    `/fine_tuning/jobs/${id}/metrics`,
  );
  const audioSeconds = (series['audio_seconds_per_second'] ?? []).reduce<number>(
    (sum, speed, i) => sum + Number(speed) * (seconds[i]! - (seconds[i - 1] ?? 0)),
    0,
  );
  // each clip of a pitch is seven samples longer than the previous one, at alternating sampling rates
  const each = Array.from({ length: 8 }, (_, i) => 0.15 + (7 * i) / (i % 2 === 0 ? 16_000 : 8000));
  expect(audioSeconds).toBeCloseTo(16 * 3 * each.reduce((a, b) => a + b), 3);

  const unseen = PITCHES.map((pitch, i) => tone(pitch, 50 + i, 0.15));
  const input = unseen.map((bytes) => dataUrl(bytes, 'audio/wav'));
  const response = await graft.openai.post<Classified>('/classify', { body: { model, input } });
  expect(response.data.map(({ label }) => label)).toEqual(PITCHES);

  const alone = await form('classify', model, unseen[1] as Buffer);
  expect(await alone.json()).toMatchObject({ data: [{ index: 0, label: 'middle' }] });

  writeFileSync(join(graft.dir, 'audio.wav'), unseen[1] as Buffer);
  const { curl, typescript } = await runSnippets(graft, model);
  expect(JSON.parse(curl)).toMatchObject({ data: [{ index: 0, label: 'middle' }] });
  expect(typescript).toContain("label: 'middle'");

  const paths = unseen.map((bytes, i) => {
    const path = join(graft.dir, `${i}.wav`);
    writeFileSync(path, bytes);
    return path;
  });
  const flac = join(GOLDEN, 'mono-16.flac');
  const done = await run('classify', model, '--audio', ...paths, flac);
  expect(done).toMatchObject({ code: 0, err: '' });
  expect(done.out).toMatch(/0\.wav +low[^]*1\.wav +middle[^]*2\.wav +high[^]*mono-16\.flac +\w+/);

  const mp3 = Buffer.concat([Buffer.from('ID3'), Buffer.alloc(40)]);
  const refused = await form('classify', model, mp3);
  expect(refused.status).toBe(400);
  expect(await refused.json()).toMatchObject({
    error: { message: expect.stringContaining('expected WAV or FLAC, got MP3') },
  });
  const song = join(graft.dir, 'song.mp3');
  writeFileSync(song, mp3);
  const failed = await run('classify', model, '--audio', song);
  expect(failed).toMatchObject({ out: '' });
  expect(failed.err).toMatch(/expected WAV or FLAC, got MP3/);
});

it('a speech model trains on transcripts, and returns transcripts, streamed or not', async () => {
  onTestFailed(() => console.error(graft.tails()));
  await graft.importBase('tiny-whisper', writeTinySpeechBase(join(graft.dir, 'tiny-whisper')));
  const path = writeClips(join(graft.dir, 'said.jsonl'), 12, 'text', 0.8);
  const file = await graft.openai.files.create({
    file: createReadStream(path),
    purpose: 'fine-tune',
  });
  const { id } = await graft.createJob({
    model: 'tiny-whisper',
    training_file: file.id,
    seed: 7,
    peft: { peft_type: 'LORA', r: 8, target_modules: 'all-linear' },
    hyperparameters: { batch_size: 4, n_epochs: 40 },
    graft: {
      task: 'speech_seq_2_seq',
      learning_rate: 0.01,
      lr_schedule: 'linear',
      base_dtype: 'f32',
    },
  });
  const { fine_tuned_model: model } = (await graft.succeeded(id)) as { fine_tuned_model: string };
  expect(await graft.openai.models.retrieve(model)).toMatchObject({ graft: { uses: ['transcribe'] } }); // prettier-ignore

  const { transcriptions } = graft.openai.audio;
  const sound = (pitch: Pitch, place: number): File =>
    new File([new Uint8Array(tone(pitch, place, 0.8))], 'sound.wav');
  const said = await transcriptions.create({ model, file: sound('middle', 50) });
  expect(said).toMatchObject({ text: 'middle', usage: { type: 'tokens', output_tokens: 7 } });
  writeFileSync(join(graft.dir, 'audio.wav'), tone('middle', 50, 0.8));
  const { curl, typescript } = await runSnippets(graft, model);
  expect(JSON.parse(curl)).toMatchObject({ text: 'middle' });
  expect(typescript).toBe('middle\n');
  const text = await transcriptions.create({
    model,
    file: sound('low', 51),
    response_format: 'text',
  });
  expect(text).toBe('low\n');

  // longer than the base's window: three tones, each of one second including silence
  const second = (pitch: Pitch, place: number): number[] => {
    const samples = samplesOf(tone(pitch, place, 0.8));
    return [...samples, ...Array<number>(16_000 - samples.length).fill(0)];
  };
  const long = wav(PITCHES.flatMap((pitch, i) => second(pitch, 50 + 2 * i)).slice(0, -800), 16_000);
  const events = await transcriptions.create({
    model,
    file: new File([new Uint8Array(long)], 'long.wav'),
    stream: true,
  });
  const deltas: string[] = [];
  for await (const event of events) {
    if (event.type === 'transcript.text.delta') deltas.push(event.delta);
    else expect(event).toMatchObject({ type: 'transcript.text.done', text: deltas.join('') });
  }
  expect(deltas.length).toBeGreaterThan(3);
  expect(deltas.join('')).toBe('low middle high');

  const paths = (['low', 'high'] as const).map((pitch) => {
    const at = join(graft.dir, `${pitch}.wav`);
    writeFileSync(at, tone(pitch, 50, 0.8));
    return at;
  });
  const shown = await run('transcribe', ...paths, '--model', model);
  expect(shown).toEqual({ code: 0, out: 'low\nhigh\n', err: 'low.wav:\nhigh.wav:\n' });
  const whole = await run('--json', 'transcribe', paths[0] as string, '--model', model);
  expect(JSON.parse(whole.out)).toMatchObject({ file: paths[0], text: 'low', usage: { output_tokens: 4 } }); // prettier-ignore
  const cut = await run('--json', 'transcribe', paths[0] as string, 'none.wav', '--model', model);
  expect(cut).toMatchObject({ code: 2, err: expect.stringContaining('none.wav') });
  expect(JSON.parse(cut.out)).toMatchObject([{ file: paths[0], text: 'low' }]);
  const timed = await run('transcribe', paths[0] as string, '--model', model, '--format', 'srt');
  expect(timed).toMatchObject({ code: 1, out: '' });
  expect(timed.err).toMatch(/no timestamp tokens/);

  await expect(
    transcriptions.create({ model, file: sound('low', 1), response_format: 'srt' }),
  ).rejects.toMatchObject({ status: 400, message: expect.stringMatching(/no timestamp tokens/) });
  const mp3 = new File([Buffer.concat([Buffer.from('ID3'), Buffer.alloc(40)])], 'song.mp3');
  await expect(transcriptions.create({ model, file: mp3, stream: true })).rejects.toMatchObject({
    status: 400,
    message: expect.stringContaining('expected WAV or FLAC, got MP3'),
  });
});

/** Samples of a WAV file written by this spec. */
const samplesOf = (file: Buffer): number[] =>
  Array.from({ length: (file.length - 44) / 2 }, (_, i) => file.readInt16LE(44 + 2 * i) / 32_767);

it('a CTC model trains on transcripts, is evaluated by error rates, and rejects invalid texts by line', async () => {
  onTestFailed(() => console.error(graft.tails()));
  await graft.importBase('tiny-ctc', writeTinyCtcBase(join(graft.dir, 'tiny-ctc')));
  const upload = (path: string) =>
    graft.openai.files.create({ file: createReadStream(path), purpose: 'fine-tune' });
  const sounds = await upload(writeClips(join(graft.dir, 'spelt.jsonl'), 12, 'text'));
  const body = {
    model: 'tiny-ctc',
    training_file: sounds.id,
    peft: { peft_type: 'LORA', target_modules: 'all-linear' },
    hyperparameters: { batch_size: 4, n_epochs: 2 },
    graft: {
      task: 'ctc',
      base_dtype: 'f32',
      validation_split: 0.25,
      eval_steps: 1,
      metric_for_best_model: 'wer',
    },
  };
  const { id } = await graft.createJob(body);
  const { fine_tuned_model: model } = (await graft.succeeded(id)) as { fine_tuned_model: string };
  expect((await graft.job(id)).graft.metric_for_best_model).toBe('wer');
  const { data } = await graft.openai.fineTuning.jobs.checkpoints.list(id);
  expect(data[0]?.metrics).toMatchObject({
    full_valid_loss: expect.any(Number) as number,
    full_valid_wer: expect.any(Number) as number,
    full_valid_cer: expect.any(Number) as number,
  });
  const file = new File([new Uint8Array(tone('low', 0))], 'sound.wav');
  const said = await graft.openai.audio.transcriptions.create({ model, file });
  expect(said.text).toMatch(/^[lowmidehg ]*$/);

  const lines = ['low', 'm'.repeat(40)].map((text) =>
    JSON.stringify({ audio: dataUrl(tone('low', 0), 'audio/wav'), text }),
  );
  const path = join(graft.dir, 'long.jsonl');
  writeFileSync(path, lines.join('\n'));
  await expect(
    graft.createJob({ ...body, training_file: (await upload(path)).id }),
  ).rejects.toThrow(
    /line 2: the text has 40 tokens and needs 79 frames, but the base makes 66 of the/,
  );
  const other = { ...body, graft: { ...body.graft, metric_for_best_model: 'accuracy' } };
  await expect(graft.createJob(other)).rejects.toThrow(
    'expected loss or wer or cer for task ctc, got "accuracy"',
  );
  await expect(graft.createJob({ ...body, model: 'tiny-ast' })).rejects.toThrow(
    /has no head for ctc/,
  );
});

it('a CTC model without a vocabulary gets the characters of the texts, which its adapters keep', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const { transcriptions } = graft.openai.audio;
  await graft.importBase('tiny-bare', writeTinyAudioBase(join(graft.dir, 'tiny-bare'), 'wav2vec2'));
  const file = () => new File([new Uint8Array(tone('low', 0))], 'sound.wav');
  await expect(transcriptions.create({ model: 'tiny-bare', file: file() })).rejects.toThrow(
    /has no CTC head .*train it for task ctc, which creates one from your texts/,
  );
  const upload = async (name: string, texts: readonly string[]): Promise<string> => {
    const lines = texts.map((text, i) =>
      JSON.stringify({ audio: dataUrl(tone('low', i, 0.1), 'audio/wav'), text }),
    );
    const path = join(graft.dir, name);
    writeFileSync(path, lines.join('\n'));
    const sent = { file: createReadStream(path), purpose: 'fine-tune' } as const;
    return (await graft.openai.files.create(sent)).id;
  };
  const body = {
    model: 'tiny-bare',
    training_file: await upload('texts.jsonl', ['zwölf Boxer', 'größer', 'Jahr']),
    validation_file: await upload('heard.jsonl', ['Box', 'größer?', '?!']),
    peft: { peft_type: 'LORA', target_modules: 'all-linear', modules_to_save: ['lm_head'] },
    hyperparameters: { batch_size: 4, n_epochs: 1 },
    graft: { task: 'ctc', base_dtype: 'f32' },
  };
  const { id } = await graft.createJob(body);
  const done = await graft.succeeded(id);
  const letters = [...new Set('zwölf Boxer größer Jahr')].sort();
  expect(done.graft['task_options']).toMatchObject({ vocabulary_from_data: true });
  const found = (done.graft['task_options'] as { letters: string[] }).letters;
  expect(found).toEqual(letters);
  const { data: events } = await graft.openai.fineTuning.jobs.listEvents(id);
  expect(events.map(({ message }) => message).join('\n')).toContain(
    '2 characters of the validation file are not in the vocabulary of this job and are evaluated as the unknown token. Number of examples with each: "?" (2), "!" (1).',
  );
  const model = done.fine_tuned_model as string;
  const said = await transcriptions.create({ model, file: file() });
  for (const letter of said.text.replaceAll('[UNK]', '')) expect(letters).toContain(letter);

  // training continues on another file: the vocabulary stays, and another one is rejected
  const again = { ...body, model, training_file: await upload('more.jsonl', ['Fax', 'Box']), validation_file: undefined }; // prettier-ignore
  const next = await graft.createJob(again);
  expect((await graft.succeeded(next.id)).graft['task_options']).toMatchObject({ letters, vocabulary_from_data: false }); // prettier-ignore
  const others = { ...body.graft, task_options: { letters: ['a', 'b'] } };
  await expect(graft.createJob({ ...again, graft: others })).rejects.toMatchObject({
    status: 400,
    param: 'graft.task_options.letters',
    message: expect.stringMatching(/keeps its own vocabulary \(B J a .*remove this option/),
  });
  const twice = { ...body.graft, task_options: { letters: ['a', 'bc'] } };
  await expect(graft.createJob({ ...body, graft: twice })).rejects.toThrow(/task_options\.letters.*expected one character/); // prettier-ignore
});
