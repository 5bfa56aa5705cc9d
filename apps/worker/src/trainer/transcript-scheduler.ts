// Transcription requests in a trainer. Audio is decoded in a thread, then transcribed one forward pass at a time between
// training steps. Requests take turns; the number of open ones is limited by the memory for their KV caches.
import { DomainError } from '@graft/contracts';
import {
  BARE_BASE,
  headOf,
  isFatal,
  storedCharacters,
  taskFor,
  trainedOptions,
  Transcript,
  type Base,
} from '@graft/peft-core';
import type { AskCommand, Fact } from '../protocol/protocol.js';
import { answered, failed } from './answer-facts.js';
import type { AttachedAdapters } from './attached-adapters.js';
import type { Decode } from './audio-decoder.js';
import type { WorkMark } from './work-mark.js';

export interface TranscriptSchedulerOptions {
  readonly send: (fact: Fact) => void;
  readonly mark: WorkMark;
  /** Called when there is work without a new command. */
  readonly wake: () => void;
  readonly decode: Decode;
  /** Maximum bytes of decoded audio that is not transcribed yet; above it, no further audio is decoded. */
  readonly maxDecodedBytes?: number;
}

/** Request whose audio is decoded. */
interface DecodedRequest {
  readonly command: AskCommand<'transcribe'>;
  readonly samples: Float32Array;
}

interface Open {
  readonly transcript: Transcript;
  readonly samples: Float32Array;
  readonly run: number;
}

const MAX_DECODED_BYTES = 256 * 1024 * 1024;

export class TranscriptScheduler {
  /** Requests whose audio file is not decoded yet. */
  private readonly undecoded = new Map<string, AskCommand<'transcribe'>>();
  /** The request whose audio file is being decoded. */
  private decoding: { readonly id: string; readonly controller: AbortController } | null = null;
  /** Requests that wait for their adapter, or for memory. */
  private readonly waiting = new Map<string, DecodedRequest>();
  private readonly open = new Map<string, Open>();

  constructor(
    private readonly base: Base,
    private readonly adapters: AttachedAdapters,
    private readonly options: TranscriptSchedulerOptions,
  ) {
    adapters.usedBy({
      runs: () => [...this.open.values()].map(({ run }) => run),
      waitsFor: () => [...this.waiting.values()].flatMap(({ command }) => command.adapter?.key ?? []), // prettier-ignore
    });
  }

  get busy(): boolean {
    return this.open.size + this.waiting.size > 0;
  }

  start(command: AskCommand<'transcribe'>): void {
    this.undecoded.set(command.id, command);
    this.decodeNext();
  }

  /** Decodes the next audio, unless one is being decoded or the memory limit is reached. */
  private decodeNext(): void {
    const [command] = this.undecoded.values();
    if (!command || this.decoding !== null || this.isFull) return;
    const { id } = command;
    const controller = new AbortController();
    this.undecoded.delete(id);
    this.decoding = { id, controller };
    void this.decoded(command, controller.signal)
      .then((decoded) => {
        if (!controller.signal.aborted) this.waiting.set(id, decoded);
      })
      .catch((error: unknown) => {
        if (!controller.signal.aborted) this.options.send(failed(id, error));
      })
      .finally(() => {
        this.decoding = null;
        this.decodeNext();
        this.options.wake();
      });
  }

  private get isFull(): boolean {
    const { maxDecodedBytes = MAX_DECODED_BYTES } = this.options;
    const decoded = [...this.waiting.values(), ...this.open.values()];
    return decoded.reduce((sum, { samples }) => sum + samples.byteLength, 0) >= maxDecodedBytes;
  }

  cancel(id: string): void {
    this.undecoded.delete(id);
    if (this.decoding?.id === id)
      this.decoding.controller.abort(new DomainError('conflict', 'canceled'));
    if (this.waiting.delete(id)) this.adapters.drop();
    this.end(id);
  }

  /** Continues for about `seconds`, at least one forward pass of each request; then attaches an adapter by a part. */
  work(seconds: number): void {
    if (!this.busy) return;
    const { mark } = this.options;
    mark.answers();
    const until = performance.now() + 1000 * seconds;
    this.admit();
    do for (const id of [...this.open.keys()]) this.step(id);
    while (this.open.size > 0 && performance.now() < until);
    if (this.waiting.size > 0) this.adapters.work();
    mark.idle();
  }

  private async decoded(
    command: AskCommand<'transcribe'>,
    signal: AbortSignal,
  ): Promise<DecodedRequest> {
    const { samplingRate } = this.base.processor.audio;
    const { file } = command;
    if (file === null) throw new DomainError('internal_error', 'the request has no audio file');
    const clips = [{ file }];
    const [audio] = await this.options.decode({ clips, samplingRate }, signal);
    if (!audio) throw new DomainError('internal_error', 'the audio was not decoded');
    if ('problem' in audio)
      throw new DomainError('invalid_value', `file: ${audio.problem}`, 'file');
    return { command, samples: audio.samples };
  }

  private admit(): void {
    for (const [id, request] of [...this.waiting]) {
      if (this.open.size > 0 && !this.fits(request.command)) return;
      try {
        const opened = this.opened(request);
        if (opened === null) continue;
        this.open.set(id, opened);
        this.waiting.delete(id);
      } catch (error) {
        if (isFatal(error)) throw error;
        this.waiting.delete(id);
        this.options.send(failed(id, error));
        this.decodeNext();
      }
    }
  }

  /** Whether the KV cache of another request fits. It holds the decoder's tokens and the encoder's output. */
  private fits({ cacheBytes = Infinity }: AskCommand<'transcribe'>): boolean {
    const { model } = this.base;
    if (model.targetPositions === null) return true;
    const rows = model.targetPositions + model.maxPositions;
    return (this.open.size + 1) * rows * model.cache().bytesPerRow(BARE_BASE) <= cacheBytes;
  }

  /** Opens a request; null while its adapter is being attached. */
  private opened({ command, samples }: DecodedRequest): Open | null {
    const { payload, adapter } = command;
    const { task, options } = payload;
    const { infer } = taskFor(task);
    if (infer?.kind !== 'transcribe')
      throw new DomainError('unsupported', `models of task ${task} do not transcribe audio`);
    const spec = { task, task_options: options };
    const taskOptions = adapter
      ? trainedOptions(spec, () => storedCharacters(adapter.dir))
      : options;
    const head = headOf({ task, task_options: taskOptions });
    const run = adapter === null ? BARE_BASE : this.adapters.attach(adapter, head);
    if (run === null) return null;
    const transcript = new Transcript(
      this.base,
      infer,
      { run, options: taskOptions, samples },
      payload,
    );
    return { run, samples, transcript };
  }

  private step(id: string): void {
    const { transcript } = this.open.get(id) as Open;
    try {
      const { text, segments, isLast } = transcript.step();
      const { seconds, language, rows, tokens } = transcript;
      if (isLast) this.end(id);
      if (text === '' && segments.length === 0 && !isLast) return;
      this.options.send(
        answered(
          id,
          {
            text,
            segments,
            ...(isLast && { sound: { seconds, language } }),
            prompt_tokens: rows,
            completion_tokens: tokens,
          },
          isLast,
        ),
      );
    } catch (error) {
      if (isFatal(error)) throw error;
      this.end(id);
      this.options.send(failed(id, error));
    }
  }

  private end(id: string): void {
    this.open.get(id)?.transcript.close();
    this.open.delete(id);
    this.decodeNext();
  }
}
