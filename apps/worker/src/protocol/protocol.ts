// Protocol between an agent (or `graft run`) and a trainer process: length-prefixed JSON frames, with commands on the
// trainer's stdin and facts on its stdout. Unknown fields are ignored. A trainer with another protocol version is rejected
// at its first frame.
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
import type { MeasuredSpeed, RunBytes } from '@graft/peft-core';

export const PROTOCOL = 4;

/** Key of a run in a trainer; part of every command and fact about the run. */
export interface AttemptKey {
  readonly jobId: string;
  readonly attempt: number;
}

export const keyOf = ({ jobId, attempt }: AttemptKey): string => `${jobId}/${attempt}`;

/** Loads the frozen base. Sent once per process, as the first command. The trainer responds with `loaded` or `loadFailed`. */
export interface LoadCommand {
  readonly type: 'load';
  /** Name of the base for messages. The base ID of a run is in its start command. */
  readonly baseId: string;
  /** Hugging Face folder, folder with one .gguf file, or .gguf file. */
  readonly path: string;
  readonly dtype: Spec['base_dtype'];
  readonly quantization: string | null;
  /** Device of all tensors of the process: `cpu` or `cuda:N`. Default: the CPU. */
  readonly device?: string;
}

/** Starts a run, which joins the others at the next step. Facts of the run have its key. */
export interface StartCommand extends AttemptKey {
  readonly type: 'start';
  readonly spec: Spec;
  /** Base ID to write into checkpoints. Models with different IDs may have the same files, and then share a process. */
  readonly baseId: string;
  /** Value of base_model_name_or_path in adapter_config.json: a Hub ID or a path. */
  readonly baseName: string;
  readonly trainFile: string;
  readonly validFile: string | null;
  /** Folder of the PEFT adapter (or full model) that training starts from. */
  readonly initAdapterDir: string | null;
  /** Folders of the adapters of an operation, or of those that the run's adapter combines, in order. */
  readonly adapterDirs?: readonly string[];
  /** Folder of a committed checkpoint to resume from. */
  readonly checkpointDir: string | null;
  /** Only folder that the run writes to: `checkpoint-<step>/` and `adapter/`. Facts name no folders. */
  readonly workDir: string;
  /** Whether the run reports its memory (`needs`) and waits for `admit` before it allocates anything. */
  readonly asks?: boolean;
}

/** Admits a run. `bytes` of device memory are reserved for it, in addition to the base. */
export interface AdmitCommand extends AttemptKey {
  readonly type: 'admit';
  readonly bytes: number;
}

export const checkpointFolder = (step: number): string => `checkpoint-${step}`;
export const ADAPTER_FOLDER = 'adapter';

/** Stops a run. `cancel` discards it; `pause`, `drain` and `preempt` save a checkpoint (`saved`), then report `stopped`. */
export interface StopCommand extends AttemptKey {
  readonly type: 'stop';
  readonly reason: StopReason;
}

/** Ends the run with `finished` after `step` steps; immediately if they are already done. */
export interface FinishCommand extends AttemptKey {
  readonly type: 'finish';
  readonly step: number;
}

export interface AdapterSource {
  /** Identifies the content. An adapter that is already attached with this key is not loaded again. */
  readonly key: string;
  readonly dir: string;
}

/** Sends a model request, which is processed between steps. `answer` facts return the response chunks. */
export interface AskCommand<K extends RequestKind = RequestKind> {
  readonly type: 'ask';
  readonly id: string;
  readonly kind: K;
  readonly payload: RequestOf<K>;
  /** PEFT adapter; null for the base itself. */
  readonly adapter: AdapterSource | null;
  /** Image or audio file of the request, or null. */
  readonly file: string | null;
  /** Whether it is a line of a batch, for which training pauses less. */
  readonly isBatch?: boolean | undefined;
  /** Maximum size of the KV caches of all requests together; absent: no limit. */
  readonly cacheBytes?: number;
}

export interface CancelAskCommand {
  readonly type: 'cancelAsk';
  readonly id: string;
}

/** Ping, which the trainer answers between steps. An unanswered ping shows how long a step has lasted. */
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
  /** Identifies the build. A checkpoint resumes bit for bit only with the same build. */
  readonly trainerBuild: string;
  readonly threads: number;
  /** Number of CUDA devices that the process can use. */
  readonly cudaDevices: number;
  /** Null unless the agent asked for a measurement (MEASURE_VARIABLE), and with CUDA devices. */
  readonly speed: MeasuredSpeed | null;
}

/** Environment variable with the seconds for which a new trainer measures its speed before it is ready. */
export const MEASURE_VARIABLE = 'GRAFT_MEASURE_SECONDS';

export interface LoadedFact {
  readonly type: 'loaded';
  readonly baseId: string;
  readonly family: string;
  readonly parameters: number;
  readonly seconds: number;
  readonly rssBytes: number;
}

/** Memory that a run needs, without the base. */
export interface NeedsFact extends AttemptKey {
  readonly type: 'needs';
  readonly bytes: RunBytes;
}

/** Event of a run. Its frame has the payload as JSON text, which the agent forwards unchanged. */
export type EventFact = AttemptKey & RunEvent & { readonly type: 'event' };
/** Event with the JSON text of its payload. */
export type ReadEvent = EventFact & { readonly json: string };

/** Log message of the trainer itself. */
type LogFact = PayloadOf<'log'> & { readonly type: 'log' };
/** Current activity of the trainer for its base. */
type PhaseFact = PayloadOf<'phase'> & { readonly type: 'phase' };

/** Response chunk, end of a response, or both. Its frame has the chunk as JSON text, which the agent forwards unchanged. */
export interface AnswerFact {
  readonly type: 'answer';
  readonly id: string;
  readonly piece: AnswerOf<RequestKind> | null;
  readonly last: boolean;
  /** Set if the request failed; then this is its last fact. */
  readonly errorCode: ErrorCode | null;
  readonly errorMessage: string | null;
  /** Field of the request that the error is about. */
  readonly errorParam?: string | null | undefined;
}
/** Response fact with the chunk as JSON text. Only the requester knows the kind of the chunk and validates it. */
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

/** Fact as read by the agent. */
export type ReadFact = Exclude<Fact, EventFact | AnswerFact> | ReadEvent | ReadAnswer;

export type FactOf<K extends Fact['type']> = Extract<ReadFact, { type: K }>;
