import type { JobObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import type { Output } from '../output/terminal.js';

/** What `graft models import` is given, and how the example speaks of it. */
export interface ExampleBase {
  readonly source: string;
  readonly title: string;
}

/** One that no training saw. */
export interface HeldOut {
  /** How a table calls it. */
  readonly shown: string;
  readonly label: string;
}

export interface ExampleData<H extends HeldOut = HeldOut> {
  readonly trainFile: string;
  readonly heldOutFile: string;
  readonly heldOut: readonly H[];
}

/** What a model answered to each held-out example, in their order. */
export type Answers = readonly string[];

export interface Asking<H extends HeldOut = HeldOut> {
  readonly api: Api;
  readonly model: string;
  readonly data: ExampleData<H>;
  /** Of the progress bar. */
  readonly title: string;
  readonly out: Output;
  readonly signal: AbortSignal;
}

/** What `graft up --example NAME` trains, and how it is asked. */
export interface ExampleKind<H extends HeldOut = HeldOut> {
  readonly name: string;
  /** What follows "trains a model that" in --help. */
  readonly summary: string;
  /** Of the data. */
  readonly licence: string;
  /** What held-out examples are called, and the column that shows them. */
  readonly several: string;
  readonly heading: string;
  /** The job, as anybody would send it, but for its model and files. docs/results.md says what these numbers give. */
  readonly job: Readonly<Record<string, unknown>>;
  base(cache: string, out: Output): Promise<ExampleBase>;
  data(cache: string, out: Output): Promise<ExampleData<H>>;
  /** The base's answers before training; null: it knows no labels, and could but guess. */
  readonly askBase: ((asking: Asking<H>) => Promise<Answers>) | null;
  ask(asking: Asking<H>): Promise<Answers>;
  isRight(answer: string, example: H): boolean;
  /** Commands to try next. @param graft how it is called here */
  next(graft: string, job: JobObject, data: ExampleData<H>): readonly string[];
}

/** Share of right answers. */
export const score = <H extends HeldOut>(
  { isRight }: ExampleKind<H>,
  answers: Answers,
  examples: readonly H[],
): number =>
  examples.filter((example, at) => isRight(answers[at] ?? '', example)).length / examples.length;
