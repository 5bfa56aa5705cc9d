/**
 * What is said in a sound, in the making. It is heard in windows, as much as the base hears at once (30 s of a base that
 * hears any length): one that writes times goes on from the last of them, as transformers' long form does; of others a
 * window is cut at the quietest place of its last sixth. Each step is one forward.
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
import { Spoken } from './spoken-text.js';

const SECONDS = 30;
/** A window goes on from its last time only where that moves the sound on by so much: a model may say one over and over. */
const LEAST_SECONDS = 1;
/** Of a window's text and its sound. */
const MOST_ROWS = 8192;

export interface TranscriptOf {
  readonly run: number;
  /** The task's. */
  readonly options: unknown;
  /** At the base's rate. */
  readonly samples: Float32Array;
}

export interface TranscriptPiece {
  /** Follows what was told before. */
  readonly text: string;
  /** Whole, in seconds of the sound. */
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
  /** Rows that the base made of the windows. */
  rows = 0;
  language: string | null;
  private readonly rate: number;
  private readonly most: number;
  private readonly timed: boolean;
  private readonly spoken = new Spoken();
  private from = 0;
  private written = 0;
  private window: OpenWindow | null = null;

  /** @throws DomainError for what of `asked` the model cannot do */
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
    // an adapter has learnt to write without times
    const goesByTimes =
      isLong && of.run === BARE_BASE && (writing?.isTimed(base.processor) ?? false);
    this.timed = asked.segments || goesByTimes;
    this.language = asked.language;
    this.window = this.open();
  }

  /** Written so far. */
  get tokens(): number {
    return this.written + (this.window?.writer?.tokens ?? 0);
  }

  step(): TranscriptPiece {
    const window = (this.window ??= this.open());
    const { writer } = window;
    const { text, isLast } = writer ? writer.step() : this.atOnce(window);
    const told = this.spoken.push(text);
    if (!isLast) return { text: told, segments: [], isLast: false };
    const segments = this.end(window);
    const isOver = this.isOver;
    return { text: told, segments, isLast: isOver };
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
    // as transformers, by default: a prompt is of the first window
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

/** Of a model that tells its text alone. */
function refuseBeyondText({ language, prompt, temperature, segments }: TranscriptOptions): void {
  const given = [
    ['response_format', segments, 'it does not say when: ask for json or text'],
    ['language', language !== null, 'it knows that of its training alone: leave it out'],
    ['prompt', prompt !== null, 'it reads none: leave it out'],
    ['temperature', temperature > 0, 'it does not sample: leave it out'],
  ] as const;
  for (const [param, isGiven, why] of given)
    if (isGiven) throw new DomainError('unsupported', `${param}: the model hears letter by letter; ${why}`, param); // prettier-ignore
}
