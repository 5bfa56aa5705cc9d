/**
 * A transcript in progress. The audio is transcribed in windows of the base model's maximum input (30 s if
 * it accepts any length). With timestamps, the next window starts at the last one, as in Transformers'
 * long-form generation. Without them, a window ends at the quietest point of its last sixth. Each step is
 * one forward pass.
 */
import { DomainError, type TranscriptOptions, type TranscriptSegment } from '@graft/contracts';
import { BARE_BASE } from '../nn/batch.js';
import { quietEnd } from '../data/audio/windows.js';
import type { Processor } from '../data/processor.js';
import type { Model } from '../models/model.js';
import type { Example, Inference } from '../tasks/task.js';
import type { Writer } from '../tasks/speech/writer.js';
import { virtualTokens } from '../nn/sites/virtual-tokens.js';
import { answersTo } from './inference.js';
import { JoinedWindows } from './spoken-text.js';

const SECONDS = 30;
/**
 * Minimum advance in seconds for which the next window starts at the last timestamp: a model may repeat a
 * timestamp forever.
 */
const LEAST_SECONDS = 1;
/** Maximum rows of a window's text and audio. */
const MOST_ROWS = 8192;

export interface TranscriptOf {
  readonly run: number;
  /** Options of the task. */
  readonly options: unknown;
  /** Samples at the base model's sampling rate. */
  readonly samples: Float32Array;
}

export interface TranscriptPiece {
  /** Text that follows the text returned before. */
  readonly text: string;
  /** Completed segments, with times in seconds from the start of the audio. */
  readonly segments: readonly TranscriptSegment[];
  readonly isLast: boolean;
}

interface Base {
  readonly model: Model;
  readonly processor: Processor;
}

interface OpenWindow {
  readonly from: number;
  readonly to: number;
  readonly writer: Writer | null;
  readonly example: Example;
}

export class Transcript {
  readonly seconds: number;
  /** Number of rows that the base model computed from the windows. */
  rows = 0;
  language: string | null;
  private readonly rate: number;
  private readonly most: number;
  private readonly timed: boolean;
  private readonly spoken = new JoinedWindows();
  private from = 0;
  private written = 0;
  private window: OpenWindow | null = null;

  /** Starts a transcript. @throws DomainError for requested options that the model does not support */
  constructor(
    private readonly base: Base,
    private readonly infer: Inference,
    private readonly of: TranscriptOf,
    private readonly asked: TranscriptOptions,
  ) {
    const { audio } = base.processor;
    this.rate = audio.samplingRate;
    this.most = Math.floor((audio.maxSeconds ?? SECONDS) * this.rate);
    this.seconds = of.samples.length / this.rate;
    const { writing } = infer;
    if (!writing) refuseBeyondText(asked);
    const isLong = of.samples.length > this.most;
    // An adapter is trained to write without timestamps.
    const goesByTimes =
      isLong && of.run === BARE_BASE && (writing?.isTimed(base.processor) ?? false);
    this.timed = asked.segments || goesByTimes;
    this.language = asked.language;
    this.window = this.open();
  }

  /** Number of tokens generated so far. */
  get tokens(): number {
    return this.written + (this.window?.writer?.tokens ?? 0);
  }

  step(): TranscriptPiece {
    const window = (this.window ??= this.open());
    const { writer } = window;
    const { text, isLast } = writer ? writer.step() : this.atOnce(window);
    const added = this.spoken.push(text);
    if (!isLast) return { text: added, segments: [], isLast: false };
    const segments = this.end(window);
    const isOver = this.isOver;
    return { text: added, segments, isLast: isOver };
  }

  close(): void {
    this.window?.writer?.close();
    this.window = null;
  }

  private get isOver(): boolean {
    return this.base.processor.audio.rows(this.of.samples.length - this.from) === 0;
  }

  private open(): OpenWindow {
    const { infer, from, base, of, asked, timed, rate } = this;
    const { samples, run, options } = of;
    const to = timed
      ? Math.min(samples.length, from + this.most)
      : quietEnd(samples, from, this.most);
    const { model, processor } = base;
    const maxSeqLen = Math.min(MOST_ROWS, model.maxPositions - virtualTokens(model, run));
    const how = { maxSeqLen, vocabSize: model.vocabSize, taskOptions: options };
    const heard = infer.window?.(samples.subarray(from, to), processor, how);
    if (!heard) throw new DomainError('internal_error', 'the task does not transcribe');
    const { example } = heard;
    this.rows += example.rows;
    // As in Transformers by default, a prompt applies to the first window only.
    const prompt = from === 0 ? asked.prompt : null;
    const { language } = this;
    const window = { ...asked, prompt, language, timed, seconds: (to - from) / rate };
    const writer = infer.writing?.open(model, { run, example, options }, window) ?? null;
    return { from, to, writer, example };
  }

  private atOnce({ example }: OpenWindow): { text: string; isLast: boolean } {
    const { run, options } = this.of;
    const shares = [{ run, examples: [example], options }];
    const [said] = answersTo(this.infer, this.base.model, shares);
    return { text: (said as { text: string }).text, isLast: true };
  }

  private end({ from, to, writer }: OpenWindow): TranscriptSegment[] {
    this.window = null;
    this.from = to;
    this.spoken.cut();
    if (!writer) return [];
    this.written += writer.tokens;
    this.language ??= writer.language;
    if (!this.timed) return [];
    const { segments, until } = writer.times();
    if (until >= LEAST_SECONDS) this.from = Math.min(to, from + Math.round(until * this.rate));
    const offset = from / this.rate;
    const seek = Math.round(100 * offset);
    return segments.map((one) => ({
      ...one,
      seek,
      start: offset + one.start,
      end: offset + one.end,
    }));
  }
}

/** Rejects options that a model which returns only text does not support. */
function refuseBeyondText({ language, prompt, temperature, segments }: TranscriptOptions): void {
  const given = [
    ['response_format', segments, 'it has no timestamps; use json or text'],
    ['language', language !== null, 'its language is fixed by its training; remove it'],
    ['prompt', prompt !== null, 'it does not read prompts; remove it'],
    ['temperature', temperature > 0, 'it does not sample; remove it'],
  ] as const;
  for (const [param, isGiven, why] of given)
    if (isGiven) throw new DomainError('unsupported', `${param}: the model uses CTC; ${why}`, param); // prettier-ignore
}
