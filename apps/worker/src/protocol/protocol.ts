// What passes between an agent (or `graft run`) and a trainer process: length-prefixed JSON frames,
// commands on the trainer's stdin and facts on its stdout. Unknown fields are ignored; a trainer of
// another protocol version is refused at its first frame.
import type {
  AnswerOf,
  ErrorCode,
  PayloadOf,
  RequestKind,
  RequestOf,
  RunEvent,
  Spec,
  StopReason,
} from '@graft/contracts';
import type { RunBytes } from '@graft/peft-core';

export const PROTOCOL = 4;

/** A run inside a trainer: every command and fact about one carries both. */
export interface AttemptKey {
  readonly jobId: string;
  readonly attempt: number;
}

export const keyOf = ({ jobId, attempt }: AttemptKey): string => `${jobId}/${attempt}`;

/** Loads the frozen base; once per process, before anything else. Answered by `loaded` or `loadFailed`. */
export interface LoadCommand {
  readonly type: 'load';
  /** For people; a run's own start command names what it trains on. */
  readonly baseId: string;
  /** A Hugging Face folder, a folder holding one .gguf, or a .gguf file. */
  readonly path: string;
  readonly dtype: Spec['base_dtype'];
  readonly quantization: string | null;
  /** `cpu` or `cuda:N`: everything that this process makes lies there. Absent: the CPU. */
  readonly device?: string;
}

/** Starts a run; it joins the others at the next step. Facts of the run carry its key. */
export interface StartCommand extends AttemptKey {
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
  /** Folders of the adapters of an operation, or of those that the run's is made of, in their order. */
  readonly adapterDirs?: readonly string[];
  /** Folder of a committed checkpoint to resume from. */
  readonly checkpointDir: string | null;
  /** The only folder that the run writes in: `checkpoint-<step>/` and `adapter/`. Facts name no folder. */
  readonly workDir: string;
  /** Says what it needs (`needs`) and waits for `admit` before it makes anything. */
  readonly asks?: boolean;
}

/** There is room for the run: it may take so many bytes of its device beside the base. */
export interface AdmitCommand extends AttemptKey {
  readonly type: 'admit';
  readonly bytes: number;
}

export const checkpointFolder = (step: number): string => `checkpoint-${step}`;
export const ADAPTER_FOLDER = 'adapter';

/** cancel: stop, keep nothing. pause, drain, preempt: save a checkpoint first (`saved`), then `stopped`. */
export interface StopCommand extends AttemptKey {
  readonly type: 'stop';
  readonly reason: StopReason;
}

/** Ends the run with what it has, and `finished`, once so many steps are done: at once where they are. */
export interface FinishCommand extends AttemptKey {
  readonly type: 'finish';
  readonly step: number;
}

export interface AdapterSource {
  /** Names its content: an adapter that is attached under this key is not read again. */
  readonly key: string;
  readonly dir: string;
}

/** Asks for an answer between steps. `answer` facts carry its pieces. */
export interface AskCommand<K extends RequestKind = RequestKind> {
  readonly type: 'ask';
  readonly id: string;
  readonly kind: K;
  readonly payload: RequestOf<K>;
  /** A PEFT adapter; null = the base itself. */
  readonly adapter: AdapterSource | null;
  /** The image or audio file that the request is about; null: it has none. */
  readonly file: string | null;
  /** Limit for the keys and values of all answers together; absent: no limit. */
  readonly cacheBytes?: number;
}

export interface CancelAskCommand {
  readonly type: 'cancelAsk';
  readonly id: string;
}

/** The trainer answers between steps, so an unanswered ping tells how long a step has lasted. */
export interface PingCommand {
  readonly type: 'ping';
  readonly sequence: number;
}

export type Command =
  | LoadCommand
  | StartCommand
  | AdmitCommand
  | StopCommand
  | FinishCommand
  | AskCommand
  | CancelAskCommand
  | PingCommand;

export interface ReadyFact {
  readonly type: 'ready';
  readonly protocol: number;
  readonly pid: number;
  readonly libtorch: string;
  /** A checkpoint resumes bit for bit only on an equal build. */
  readonly trainerBuild: string;
  readonly threads: number;
  /** How many CUDA devices this process could use. */
  readonly cudaDevices: number;
}

export interface LoadedFact {
  readonly type: 'loaded';
  readonly baseId: string;
  readonly family: string;
  readonly parameters: number;
  readonly seconds: number;
  readonly rssBytes: number;
}

/** What a run will take beside the base. */
export interface NeedsFact extends AttemptKey {
  readonly type: 'needs';
  readonly bytes: RunBytes;
}

/** What a run reports. Its frame carries the payload as a JSON text, which the agent passes on as it is. */
export type EventFact = AttemptKey & RunEvent & { readonly type: 'event' };
/** With the JSON text that the payload was read from. */
export type ReadEvent = EventFact & { readonly json: string };

/** A line of the trainer itself. */
type LogFact = PayloadOf<'log'> & { readonly type: 'log' };
/** What the trainer does for its base. */
type PhaseFact = PayloadOf<'phase'> & { readonly type: 'phase' };

/** A piece of an answer, its end, or both. Its frame carries the piece as a JSON text, which the agent passes on as it is. */
export interface AnswerFact {
  readonly type: 'answer';
  readonly id: string;
  readonly piece: AnswerOf<RequestKind> | null;
  readonly last: boolean;
  /** Set if the answer failed; the fact is its last. */
  readonly errorCode: ErrorCode | null;
  readonly errorMessage: string | null;
}
/** With the JSON text of the piece. Only who asked knows the kind of the piece, and checks it. */
export type ReadAnswer = Omit<AnswerFact, 'piece'> & { readonly piece: string | null };

export type Fact =
  | ReadyFact
  | LoadedFact
  | {
      readonly type: 'loadFailed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly param: string | null;
    }
  | NeedsFact
  | EventFact
  | PhaseFact
  | AnswerFact
  | LogFact
  | { readonly type: 'pong'; readonly sequence: number; readonly rssBytes: number };

/** As the agent reads it. */
export type ReadFact = Exclude<Fact, EventFact | AnswerFact> | ReadEvent | ReadAnswer;

export type FactOf<K extends Fact['type']> = Extract<ReadFact, { type: K }>;
