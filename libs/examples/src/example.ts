/** Where an example says what it is doing. */
export interface Progress {
  note(text: string): void;
  /** Replaces the last drawn line; '' removes it. */
  draw(text: string): void;
}

export interface ExampleBase {
  /** What `graft models import` is given. */
  readonly source: string;
  readonly title: string;
}

/** An example that is not in the training data. */
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

export interface Message {
  readonly role: 'system' | 'user';
  readonly content: string;
}

/** How a model is asked about a held-out example. */
export type Question<H extends HeldOut> =
  | { readonly kind: 'chat'; messages(example: H): readonly Message[]; readonly maxTokens: number }
  | { readonly kind: 'classify'; input(example: H): unknown };

/** The parts of a finished job that the commands to try next name. */
export interface FinishedJob {
  readonly id: string;
  readonly model: string;
  readonly fine_tuned_model: string | null;
}

/** What `graft up --example NAME` trains. */
export interface Example<H extends HeldOut = HeldOut> {
  readonly name: string;
  /** Completes "trains a model that" in --help. */
  readonly summary: string;
  /** Of the data. */
  readonly licence: string;
  /** What held-out examples are called, and the heading of their column. */
  readonly several: string;
  readonly heading: string;
  /** Body of the job, without its model and files. docs/results.md has the scores that it reaches. */
  readonly job: Readonly<Record<string, unknown>>;
  base(cache: string, progress: Progress): Promise<ExampleBase>;
  data(cache: string, progress: Progress): Promise<ExampleData<H>>;
  readonly question: Question<H>;
  /** Whether the base is asked before training. A base that has no head yet knows no labels. */
  readonly asksBase: boolean;
  isRight(answer: string, example: H): boolean;
  /** Commands to try next. @param graft how the CLI is called here */
  next(graft: string, job: FinishedJob, data: ExampleData<H>): readonly string[];
}
