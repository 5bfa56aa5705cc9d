// Inference requests with audio. The audio is decoded in a thread, in parallel with the trainer's turns.
import { DomainError, type InferRequest } from '@graft/contracts';
import { MAX_SOUND_VALUES, mediaBytes, audioTooLong, wavFile } from '@graft/peft-core/media';
import type { AskCommand, Fact } from '../protocol/protocol.js';
import { failed } from './answer-facts.js';
import type { Decode } from './audio-decoder.js';

export interface AudioInputsOptions {
  readonly decode: Decode;
  /** Starts a request whose audio is decoded. */
  readonly start: (command: AskCommand<'infer'>) => void;
  readonly send: (fact: Fact) => void;
  /** Called when there is work without a new command. */
  readonly wake: () => void;
}

export class AudioInputs {
  private readonly open = new Map<string, AbortController>();

  constructor(private readonly options: AudioInputsOptions) {}

  /** @param samplingRate sampling rate of the base in Hz */
  start(command: AskCommand<'infer'>, samplingRate: number): void {
    const { id } = command;
    const { start, send, wake } = this.options;
    const controller = new AbortController();
    this.open.set(id, controller);
    void this.decoded(command, samplingRate, controller.signal)
      .then((inputs) => {
        if (!controller.signal.aborted)
          start({ ...command, payload: { ...command.payload, inputs }, file: null });
      })
      .catch((error: unknown) => {
        if (!controller.signal.aborted) send(failed(id, error));
      })
      .finally(() => {
        if (this.open.get(id) === controller) this.open.delete(id);
        wake();
      });
  }

  cancel(id: string): void {
    this.open.get(id)?.abort(new DomainError('conflict', 'canceled'));
    this.open.delete(id);
  }

  /** Returns the inputs with decoded audio as WAV files. */
  private async decoded(
    { payload: { inputs }, file }: AskCommand<'infer'>,
    samplingRate: number,
    signal: AbortSignal,
  ): Promise<InferRequest['inputs']> {
    const inputsWithAudio: InferRequest['inputs'][number][] = [];
    let values = 0;
    const clips = file
      ? [{ file }]
      : inputs.map((input) => mediaBytes('audio', input['audio'], 'audio'));
    const results = await this.options.decode({ clips, samplingRate }, signal);
    for (const [i, result] of results.entries()) {
      if ('problem' in result)
        throw new DomainError('invalid_value', `input ${i}: ${result.problem}`, `input.${i}`);
      values += result.values;
      if (values > MAX_SOUND_VALUES) throw audioTooLong();
      const file = wavFile(result.samples, samplingRate).toString('base64');
      inputsWithAudio.push({ ...inputs[i], audio: `data:audio/wav;base64,${file}` });
    }
    return inputsWithAudio;
  }
}
