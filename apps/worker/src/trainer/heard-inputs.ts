// Sounds that are asked about, decoded beside a trainer's turns: little is left to do of them in one.
import { DomainError, type InferRequest } from '@graft/contracts';
import { MAX_SOUND_VALUES, mediaBytes, tooMuchSound, wavFile } from '@graft/peft-core/media';
import type { AskCommand, Fact } from '../protocol/protocol.js';
import { failed } from './answer-facts.js';
import type { Decode } from './sound-decoder.js';

export interface HeardInputsOptions {
  readonly decode: Decode;
  /** What is asked once its sounds are decoded. */
  readonly start: (command: AskCommand<'infer'>) => void;
  readonly send: (fact: Fact) => void;
  /** Called when there is work that no command brought. */
  readonly wake: () => void;
}

export class HeardInputs {
  private readonly open = new Map<string, AbortController>();

  constructor(private readonly options: HeardInputsOptions) {}

  /** @param samplingRate of the base */
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
    this.open.get(id)?.abort(new DomainError('conflict', 'cancelled'));
    this.open.delete(id);
  }

  /** With files of the decoded sounds. */
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
