// Audio in the dashboard: chosen, dropped or recorded from a fake microphone, classified or
// transcribed.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AxeResults } from 'axe-core';
import type { AudioFacts, JobObject } from '@graft/contracts';
import { decodeAudio } from '@graft/peft-core/media';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import {
  ScriptedWorker,
  started,
  step,
  type WorkerRequest,
} from '../../apps/api/test/scripted-worker.js';
import { tone, writeClips, writeTinyAudioBase, writeTinySpeechBase } from '../tiny-audio.js';
import {
  BROWSER_ARGS,
  buildDashboard,
  findBrowser,
  pick,
  screenshot,
  Tabs,
  toggle,
} from './browser.js';
import { overlapping, tooWide, unreadable } from './looks.js';

const program = findBrowser();
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Beeps twice a second. */
const MICROPHONE = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let worker: ScriptedWorker;

const USAGE = { prompt_tokens: 10, completion_tokens: 4 };

/** Sends a chunk of a transcript. */
const write = ({ id }: WorkerRequest, text: string, sound?: AudioFacts): void =>
  worker.reply(id, { text, segments: [], sound, ...USAGE }, { last: sound !== undefined });

const label = ({ id }: WorkerRequest, answer: object): void =>
  worker.reply(id, { answers: [answer], prompt_tokens: 10 });

const fail = ({ id }: WorkerRequest, errorCode: string, errorMessage: string): void =>
  worker.reply(id, null, { errorCode, errorMessage });

/** Decodes the audio of a request. */
const audioOf = async (question: WorkerRequest) => decodeAudio(await worker.mediaOf(question));

async function faults(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations: found } = await page.evaluate(() =>
    (window as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
  );
  const told = found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  return [...told, ...(await tooWide(page)), ...(await overlapping(page)), ...(await unreadable(page))]; // prettier-ignore
}

const file = { name: 'low.wav', mimeType: 'audio/wav', buffer: tone('low', 0, 0.4) };

describe.skipIf(!program)('audio in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-sounds-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built') });
    worker = await new ScriptedWorker(api).connect();
    const args = [...BROWSER_ARGS, ...MICROPHONE];
    browser = await chromium.launch({ executablePath: program as string, args, headless: true });
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    worker?.vanish();
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-sounds');
    await tabs.close();
  });

  it('is classified, next to a player', async () => {
    await importBase(api, 'ast', writeTinyAudioBase(join(dir, 'ast'), 'audio-spectrogram-transformer')); // prettier-ignore
    const data = readFileSync(writeClips(join(dir, 'tones.jsonl'), 12, 'label', 0.15));
    const { id: training_file } = await api.client.files.create({
      file: new File([data], 'tones.jsonl'),
      purpose: 'fine-tune',
    });
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', { model: 'ast', training_file });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1));
    await worker.finish(lease, 1);
    const page = await tabs.open(`/jobs/${id}`);
    await page.getByRole('link', { name: 'Classify with it' }).click();
    await page.getByLabel('Choose audio files').setInputFiles([file]);
    const question = await worker.nextRequest();
    expect(await audioOf(question)).toEqual(decodeAudio(file.buffer));
    label(question, { label: 'low', probabilities: { low: 0.75, middle: 0.125, high: 0.125 } });
    const answers = page.getByRole('list', { name: 'Answers' });
    await answers.getByText('75.0 %').first().waitFor();
    await answers.getByLabel('low.wav', { exact: true }).waitFor();
    await answers.getByRole('img', { name: 'Waveform of low.wav, 0.4 s' }).waitFor();
    // Browsers may not know its type.
    const flac = readFileSync(join(import.meta.dirname, '../golden/audio/mono-16.flac'));
    const dropped = await page.evaluateHandle(
      (bytes) => {
        const given = new DataTransfer();
        given.items.add(new File([new Uint8Array(bytes)], 'unnamed'));
        return given;
      },
      [...flac],
    );
    await page.locator('.dropping').dispatchEvent('drop', { dataTransfer: dropped });
    const second = await worker.nextRequest();
    expect((await worker.mediaOf(second)).equals(flac)).toBe(true);
    label(second, { label: 'high', probabilities: { low: 0, middle: 0, high: 1 } });
    await answers.getByLabel('unnamed', { exact: true }).waitFor();
    expect(await page.getByText('This file is not an audio file').count()).toBe(0);
    expect(await faults(page)).toEqual([]);
    await page.setViewportSize({ width: 320, height: 800 });
    expect(await faults(page)).toEqual([]);
    await screenshot(page, 'sound-labels');
    expect(tabs.problems()).toEqual([]);
  });

  it('determines the vocabulary: the form and the job show it', async () => {
    await importBase(api, 'bare', writeTinyAudioBase(join(dir, 'bare'), 'wav2vec2'));
    const data = readFileSync(writeClips(join(dir, 'spelt.jsonl'), 12, 'text', 0.15));
    const { id: training_file } = await api.client.files.create({
      file: new File([data], 'spelt.jsonl'),
      purpose: 'fine-tune',
    });
    const page = await tabs.open(`/new?training_file=${training_file}`);
    await toggle(page, 'Change: Model');
    await pick(page, 'Base model', /^bare/);
    await page.getByText('Speech recognition (CTC)').first().waitFor();
    await page.getByLabel('First rows').getByLabel('audio of line 1', { exact: true }).waitFor();
    await screenshot(page, 'audio-first-rows');
    // The form opens the goal itself if it has shown a base model that no task fits.
    const goal = page.getByRole('button', { name: 'Change: Goal', exact: true });
    if (await goal.isVisible()) await goal.click();
    await page.getByRole('radio', { name: /Speech recognition/ }).check();
    const plan = page.getByRole('region', { name: 'What this job will do' });
    await plan.getByText('Details').click();
    await plan.getByText('d e g h i l m o w', { exact: true }).waitFor();
    await page.getByLabel('Letters', { exact: true }).fill('["l","o","w","e","h"]');
    await plan.getByText('l o w e h', { exact: true }).waitFor();
    await plan
      .getByText(/4 characters of the training file are not in the vocabulary of this job/)
      .waitFor();
    expect(await faults(page)).toEqual([]);
    await page.getByRole('button', { name: /^Submit/ }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    await page.getByRole('tab', { name: /^Data/ }).click();
    await page.getByText('5 characters: l o w e h').waitFor();
    expect(await faults(page)).toEqual([]);
    await worker.nextAssignment();
    // A preview of the default base model, which cannot learn from audio.
    expect(tabs.problems(/status of 400.*jobs\/preview/)).toEqual([]);
  });

  it('is recorded and transcribed live, with the keyboard only', async () => {
    await importBase(api, 'whisper', writeTinySpeechBase(join(dir, 'whisper')));
    const page = await tabs.open('/models');
    await page.getByRole('row', { name: /^whisper/ }).getByRole('link', { name: 'Transcribe' }).click(); // prettier-ignore
    await page.getByRole('button', { name: 'Record' }).focus();
    await page.keyboard.press('Enter');
    const stop = page.getByRole('button', { name: /Stop recording/ });
    await page.getByRole('button', { name: 'Stop recording (1 s)' }).waitFor();
    expect(await stop.getAttribute('aria-pressed')).toBe('true');
    await page.keyboard.press('Enter');
    const question = await worker.nextRequest();
    const { samples, samplingRate } = await audioOf(question);
    expect(samplingRate).toBe(16_000);
    expect(samples.length).toBeGreaterThanOrEqual(16_000);
    // The fake microphone beeps.
    expect(samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0)).toBeGreaterThan(0.1); // prettier-ignore
    const answers = page.getByRole('list', { name: 'Answers' });
    await answers.getByRole('status', { name: 'Loading' }).waitFor();
    write(question, 'Beep');
    await answers.getByText('Beep', { exact: true }).waitFor();
    write(question, ' beep.', { seconds: 1, language: null });
    await answers.getByText('Beep beep.', { exact: true }).waitFor();
    await answers.getByLabel('recording-1.wav', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Record' }).waitFor();
    await answers.getByRole('button', { name: 'Show times' }).click();
    const timed = await worker.nextRequest();
    expect(timed).toMatchObject({ segments: true });
    const part = { seek: 0, tokens: [1], avg_logprob: -1, no_speech_prob: null };
    worker.reply(timed.id, {
      text: 'Beep beep.',
      segments: [
        { ...part, start: 0, end: 0.5, text: 'Beep' },
        { ...part, start: 0.5, end: 1, text: ' beep.' },
      ],
      sound: { seconds: 1, language: null },
      ...USAGE,
    });
    await answers.getByRole('button', { name: '0:00.5 beep.' }).click();
    await page.waitForFunction(() => (document.querySelector('audio')?.currentTime ?? 0) >= 0.5);
    await screenshot(page, 'transcript');
    expect(await faults(page)).toEqual([]);
    expect(tabs.problems()).toEqual([]);
  });

  it('is rejected with a reason if the model cannot read it', async () => {
    const page = await tabs.open('/chat?model=whisper');
    await page.getByLabel('Choose audio files').setInputFiles([file]);
    const refusal = 'file: the audio cannot be decoded: expected WAV or FLAC, got MP3';
    fail(await worker.nextRequest(), 'invalid_value', refusal);
    await page.getByText('expected WAV or FLAC, got MP3').waitFor();
    // It can also fail later.
    await page.getByLabel('Choose audio files').setInputFiles([file]);
    const question = await worker.nextRequest();
    write(question, 'One');
    await page.getByText('One', { exact: true }).waitFor();
    fail(question, 'no_memory', 'full');
    await page.getByText('full').waitFor();
  });

  it('reports a missing microphone', async () => {
    const page = await tabs.open('/chat?model=whisper');
    await page.getByRole('button', { name: 'Record' }).waitFor();
    await page.evaluate(() => {
      navigator.mediaDevices.getUserMedia = () =>
        Promise.reject(new DOMException('', 'NotAllowedError'));
    });
    await page.getByRole('button', { name: 'Record' }).click();
    await page.getByText('The browser blocked the microphone').waitFor();
    expect(tabs.problems()).toEqual([]);
  });
});
