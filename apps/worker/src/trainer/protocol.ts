// What passes between an agent (or `graft run`) and a trainer process: length-prefixed JSON frames,
// commands on the trainer's stdin and facts on its stdout. Unknown fields are ignored; a trainer of
// another protocol version is refused at its first frame.
import type { ErrorCode, Spec } from '@graft/contracts';
import type { FactOfRun, FileFact, StopReason } from '@graft/peft-core';

export type { StopReason };

export const PROTOCOL = 1;

/** A run inside a trainer: every command and fact about one carries both. */
export interface RunKey {
  readonly jobId: string;
  readonly epoch: number;
}

export const keyOf = ({ jobId, epoch }: RunKey): string => `${jobId}/${epoch}`;

/** Loads the frozen base; once per process, before anything else. Answered by `loaded` or `loadFailed`. */
export interface LoadCommand {
  readonly type: 'load';
  /** For people; a run's own start command names what it trains on. */
  readonly baseId: string;
  /** A Hugging Face folder, a folder holding one .gguf, or a .gguf file. */
  readonly path: string;
  readonly dtype: Spec['base_dtype'];
  readonly quantization: string | null;
}

/** Starts a run; it joins the others at the next step. Facts of the run carry its key. */
export interface StartCommand extends RunKey {
  readonly type: 'start';
  readonly spec: Spec;
  /** Written in checkpoints. Models of several ids may be the same files, and share a process. */
  readonly baseId: string;
  /** Written in adapter_config.json's base_model_name_or_path: the hub's id, or a path. */
  readonly baseName: string;
  readonly trainFile: string;
  readonly validFile: string | null;
  /** Folder of a PEFT adapter (or full model) to begin from. */
  readonly initAdapterDir: string | null;
  /** Folder of a committed checkpoint to resume from. */
  readonly checkpointDir: string | null;
  /** The only folder that the run writes in: `checkpoint-<step>/` and `adapter/`. Facts name no folder. */
  readonly workDir: string;
}

export const checkpointFolder = (step: number): string => `checkpoint-${step}`;
export const ADAPTER_FOLDER = 'adapter';

/** cancel: stop, keep nothing. pause, drain: save a checkpoint first (`saved`), then `stopped`. */
export interface StopCommand extends RunKey {
  readonly type: 'stop';
  readonly reason: StopReason;
}

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface AdapterSource {
  /** Names its content: an adapter that is attached under this key is not read again. */
  readonly key: string;
  readonly dir: string;
}

/** Answers a chat or continues a text between steps. Give `messages` or `prompt`. */
export interface GenerateCommand {
  readonly type: 'generate';
  readonly id: string;
  readonly messages: readonly ChatMessage[] | null;
  readonly prompt: string | null;
  /** A PEFT adapter; null = the base itself. */
  readonly adapter: AdapterSource | null;
  readonly maxTokens: number;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number;
  readonly stop: readonly string[];
}

export interface CancelGenerateCommand {
  readonly type: 'cancelGenerate';
  readonly id: string;
}

/** The trainer answers between steps, so an unanswered ping tells how long a step has lasted. */
export interface PingCommand {
  readonly type: 'ping';
  readonly sequence: number;
}

export type Command =
  LoadCommand | StartCommand | StopCommand | GenerateCommand | CancelGenerateCommand | PingCommand;

/** A file written and synced, in the folder of its checkpoint or adapter. */
export type WrittenFile = FileFact;

export interface ReadyFact {
  readonly type: 'ready';
  readonly protocol: number;
  readonly pid: number;
  readonly libtorch: string;
  /** A checkpoint resumes bit for bit only on an equal build. */
  readonly trainerBuild: string;
  readonly threads: number;
}

export interface LoadedFact {
  readonly type: 'loaded';
  readonly baseId: string;
  readonly family: string;
  readonly parameters: number;
  readonly seconds: number;
  readonly rssBytes: number;
}

export interface StartedFact extends RunKey {
  readonly type: 'started';
  readonly fromStep: number;
  readonly totalSteps: number;
  readonly trainableParameters: number;
  readonly totalParameters: number;
  readonly trainingExamples: number;
}

// What a run reports (libs/peft-core/src/train/facts.ts), with the run's key.
export type StepFact = RunKey & FactOfRun<'step'>;
export type EvaluatedFact = RunKey & FactOfRun<'evaluated'>;
export type SavedFact = RunKey & Omit<FactOfRun<'saved'>, 'dir'>;
export type FinishedFact = RunKey & Omit<FactOfRun<'finished'>, 'dir'>;
export type FailedFact = RunKey & FactOfRun<'failed'>;
export type StoppedFact = RunKey & FactOfRun<'stopped'>;
/** Without a key: of the trainer itself. */
export type LogFact = Partial<RunKey> & FactOfRun<'log'>;

export interface PhaseFact extends Partial<RunKey> {
  readonly type: 'phase';
  readonly code: string;
  readonly message: string;
  /** 0..1 where known. */
  readonly progress: number | null;
}

/** New text of an answer. `finishReason` is null until the last one. */
export interface GeneratedFact {
  readonly type: 'generated';
  readonly id: string;
  readonly text: string;
  readonly finishReason: 'stop' | 'length' | 'error' | null;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly errorCode: ErrorCode | null;
  readonly errorMessage: string | null;
}

export type Fact =
  | ReadyFact
  | LoadedFact
  | {
      readonly type: 'loadFailed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly param: string | null;
    }
  | StartedFact
  | StepFact
  | EvaluatedFact
  | SavedFact
  | FinishedFact
  | FailedFact
  | StoppedFact
  | PhaseFact
  | GeneratedFact
  | LogFact
  | { readonly type: 'pong'; readonly sequence: number; readonly rssBytes: number };

export type FactOf<K extends Fact['type']> = Extract<Fact, { type: K }>;
