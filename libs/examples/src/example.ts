/** Output for the progress of an example. */
export interface Progress {
  note(text: string): void;
  /** Replaces the last drawn line; '' removes it. */
  draw(text: string): void;
}

export interface ExampleBase {
  /** Source for `graft models import`. */
  readonly source: string;
  readonly title: string;
}

/** An example that is not in the training data. */
export interface HeldOut {
  /** Label in tables. */
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

/** Request that evaluates a held-out example. */
export type Question<H extends HeldOut> =
  | { readonly kind: 'chat'; messages(example: H): readonly Message[]; readonly maxTokens: number }
  | { readonly kind: 'classify'; input(example: H): unknown };

/** Fields of a finished job for the commands to try next. */
export interface FinishedJob {
  readonly id: string;
  readonly model: string;
  readonly fine_tuned_model: string | null;
}

/** Example of `graft up --example NAME`. */
export interface Example<H extends HeldOut = HeldOut> {
  readonly name: string;
  /** Description in --help, such as "classifies mail as spam or ham". */
  readonly summary: string;
  /** License of the data. */
  readonly licence: string;
  /** Plural noun for held-out examples. `heading` is the heading of their column. */
  readonly several: string;
  readonly heading: string;
  /** Body of the job, without its model and files. docs/results.md has the scores that it reaches. */
  readonly job: Readonly<Record<string, unknown>>;
  base(cache: string, progress: Progress): Promise<ExampleBase>;
  data(cache: string, progress: Progress): Promise<ExampleData<H>>;
  readonly question: Question<H>;
  /** Whether to evaluate the base before training. A base without a classification head cannot be evaluated. */
  readonly asksBase: boolean;
  isRight(answer: string, example: H): boolean;
  /** Commands to try next. @param graft command that runs the CLI */
  next(graft: string, job: FinishedJob, data: ExampleData<H>): readonly string[];
}
