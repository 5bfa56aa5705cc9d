// How models write what is said in a sound, a token at a time: what a transcript asks of a task.
import type { Processor } from '../../data/processor.js';
import type { Model } from '../../models/model.js';

/** How a transcript is asked for. */
export interface TranscriptOptions {
  /** Null: that of the task's options, or the one that the base hears. */
  readonly language: string | null;
  /** What stands before the transcript: names, spellings. */
  readonly prompt: string | null;
  /** 0: the likeliest token each time. */
  readonly temperature: number;
  readonly seed: number;
  /** Whether it is told when each part is said. */
  readonly segments: boolean;
}

/** The same for a window of a sound. */
export interface WindowOptions extends TranscriptOptions {
  /** Whether the model writes when what is said begins and ends. */
  readonly timed: boolean;
  /** Of the window's sound. */
  readonly seconds: number;
}

/** A part of what is said. Seconds are those of its window. */
export interface SaidSegment {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly tokens: readonly number[];
  /** Mean of ln p of the window's tokens. */
  readonly avgLogprob: number;
  /** Null: the base has no token for it. */
  readonly noSpeechProb: number | null;
}

export interface SaidTimes {
  readonly segments: readonly SaidSegment[];
  /** Second of the window from which another goes on. */
  readonly until: number;
}

/** What is written of one window. */
export interface Writer {
  /** One forward: the text that is new. */
  step(): { readonly text: string; readonly isLast: boolean };
  /** Written so far, the end of text included. */
  readonly tokens: number;
  /** Null: nobody has said or heard it. */
  readonly language: string | null;
  /** At its end, of one that is timed. */
  times(): SaidTimes;
  close(): void;
}

export interface Writing<E, O> {
  /** Whether the base has tokens for times. */
  isTimed(processor: Processor): boolean;
  /** @throws DomainError for what of `asked` the base cannot do */
  open(
    model: Model,
    part: { readonly run: number; readonly example: E; readonly options: O },
    asked: WindowOptions,
  ): Writer;
}
