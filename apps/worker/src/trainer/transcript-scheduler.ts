// Transcription requests in a trainer. Audio is decoded in a thread, then transcribed one forward pass at a time between
// training steps. Requests take turns; the number of open ones is limited by the memory for their KV caches.
import { DomainError } from '@graft/contracts';
import {
  BARE_BASE,
  headOf,
  isFatal,
  storedLetters,
  taskFor,
  trainedOptions,
  Transcript,
  type Base,
} from '@graft/peft-core';
import type { AskCommand, Fact } from '../protocol/protocol.js';
import { answered, failed } from './answer-facts.js';
import type { AttachedAdapters } from './attached-adapters.js';
import type { Decode } from './sound-decoder.js';
import type { WorkMark } from './work-mark.js';

export interface TranscriptSchedulerOptions {
  readonly send: (fact: Fact) => void;
  readonly mark: WorkMark;
  /** Called when there is work without a new command. */
  readonly wake: () => void;
  readonly decode: Decode;
  /** Maximum bytes of decoded audio that is not transcribed yet; above it, no further audio is decoded. */
  readonly mostHeldBytes?: number;
}

/** Request whose audio is decoded. */
interface Heard {
  readonly command: AskCommand<'transcribe'>;
  readonly samples: Float32Array;
}

interface Open {
  readonly transcript: Transcript;
  readonly samples: Float32Array;
  readonly run: number;
}

const MOST_HELD_BYTES = 256 * 1024 * 1024;

export class TranscriptScheduler {
  /** Requests whose audio file is not decoded yet. */
  private readonly unheard = new Map<string, AskCommand<'transcribe'>>();
  /** The request whose audio file is being decoded. */
  private decoding: { readonly id: string; readonly left: AbortController } | null = null;
  /** Requests that wait for their adapter, or for memory. */
  private readonly waiting = new Map<string, Heard>();
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
    this.unheard.set(command.id, command);
    this.hearNext();
  }

  /** Decodes the next audio, unless one is being decoded or the memory limit is reached. */
  private hearNext(): void {
    const [command] = this.unheard.values();
    if (!command || this.decoding !== null || this.isFull) return;
    const { id } = command;
    const left = new AbortController();
    this.unheard.delete(id);
    this.decoding = { id, left };
    void this.heard(command, left.signal)
      .then((heard) => {
        if (!left.signal.aborted) this.waiting.set(id, heard);
      })
      .catch((error: unknown) => {
        if (!left.signal.aborted) this.options.send(failed(id, error));
      })
      .finally(() => {
        this.decoding = null;
        this.hearNext();
        this.options.wake();
      });
  }

  private get isFull(): boolean {
    const { mostHeldBytes = MOST_HELD_BYTES } = this.options;
    const held = [...this.waiting.values(), ...this.open.values()];
    return held.reduce((sum, { samples }) => sum + samples.byteLength, 0) >= mostHeldBytes;
  }

  cancel(id: string): void {
    this.unheard.delete(id);
    if (this.decoding?.id === id) this.decoding.left.abort(new DomainError('conflict', 'canceled'));
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

  private async heard(command: AskCommand<'transcribe'>, left: AbortSignal): Promise<Heard> {
    const { samplingRate } = this.base.processor.audio;
    const { file } = command;
    if (file === null) throw new DomainError('internal_error', 'the request has no audio file');
    const sounds = [{ file }];
    const [found] = await this.options.decode({ sounds, samplingRate }, left);
    if (!found) throw new DomainError('internal_error', 'the audio was not decoded');
    if ('problem' in found)
      throw new DomainError('invalid_value', `file: ${found.problem}`, 'file');
    return { command, samples: found.samples };
  }

  private admit(): void {
    for (const [id, heard] of [...this.waiting]) {
      if (this.open.size > 0 && !this.fits(heard.command)) return;
      try {
        const opened = this.opened(heard);
        if (opened === null) continue;
        this.open.set(id, opened);
        this.waiting.delete(id);
      } catch (error) {
        if (isFatal(error)) throw error;
        this.waiting.delete(id);
        this.options.send(failed(id, error));
        this.hearNext();
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
  private opened({ command, samples }: Heard): Open | null {
    const { payload, adapter } = command;
    const { task, options } = payload;
    const { infer } = taskFor(task);
    if (infer?.kind !== 'transcribe')
      throw new DomainError('unsupported', `models of task ${task} do not transcribe audio`);
    const spec = { task, task_options: options };
    const known = adapter ? trainedOptions(spec, () => storedLetters(adapter.dir)) : options;
    const head = headOf({ task, task_options: known });
    const run = adapter === null ? BARE_BASE : this.adapters.attach(adapter, head);
    if (run === null) return null;
    const transcript = new Transcript(this.base, infer, { run, options: known, samples }, payload);
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
    this.hearNext();
  }
}
