// Inference requests with audio. The audio is decoded in a thread, in parallel with the trainer's turns.
import { DomainError, type InferRequest } from '@graft/contracts';
import { MAX_SOUND_VALUES, mediaBytes, tooMuchSound, wavFile } from '@graft/peft-core/media';
import type { AskCommand, Fact } from '../protocol/protocol.js';
import { failed } from './answer-facts.js';
import type { Decode } from './sound-decoder.js';

export interface HeardInputsOptions {
  readonly decode: Decode;
  /** Starts a request whose audio is decoded. */
  readonly start: (command: AskCommand<'infer'>) => void;
  readonly send: (fact: Fact) => void;
  /** Called when there is work without a new command. */
  readonly wake: () => void;
}

export class HeardInputs {
  private readonly open = new Map<string, AbortController>();

  constructor(private readonly options: HeardInputsOptions) {}

  /** @param samplingRate sampling rate of the base in Hz */
  start(command: AskCommand<'infer'>, samplingRate: number): void {
    const { id } = command;
    const { start, send, wake } = this.options;
    const left = new AbortController();
    this.open.set(id, left);
    void this.heard(command, samplingRate, left.signal)
      .then((inputs) => {
        if (!left.signal.aborted)
          start({ ...command, payload: { ...command.payload, inputs }, file: null });
      })
      .catch((error: unknown) => {
        if (!left.signal.aborted) send(failed(id, error));
      })
      .finally(() => {
        if (this.open.get(id) === left) this.open.delete(id);
        wake();
      });
  }

  cancel(id: string): void {
    this.open.get(id)?.abort(new DomainError('conflict', 'canceled'));
    this.open.delete(id);
  }

  /** Returns the inputs with decoded audio as WAV files. */
  private async heard(
    { payload: { inputs }, file }: AskCommand<'infer'>,
    samplingRate: number,
    left: AbortSignal,
  ): Promise<InferRequest['inputs']> {
    const heard: InferRequest['inputs'][number][] = [];
    let values = 0;
    const sounds = file
      ? [{ file }]
      : inputs.map((input) => mediaBytes('audio', input['audio'], 'audio'));
    const decoded = await this.options.decode({ sounds, samplingRate }, left);
    for (const [i, found] of decoded.entries()) {
      if ('problem' in found)
        throw new DomainError('invalid_value', `input ${i}: ${found.problem}`, `input.${i}`);
      values += found.values;
      if (values > MAX_SOUND_VALUES) throw tooMuchSound();
      const file = wavFile(found.samples, samplingRate).toString('base64');
      heard.push({ ...inputs[i], audio: `data:audio/wav;base64,${file}` });
    }
    return heard;
  }
}
