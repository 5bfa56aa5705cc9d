// The files that a run writes: checkpoints to resume from, and the adapter (or the model, after full fine-tuning).
import type { Spec } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import type { Base } from '../../io/base/base-folder.js';
import { BestFiles } from '../../io/best-files.js';
import { commitFolder } from '../../io/commit-folder.js';
import { writeAdapter } from '../../io/adapter/peft-adapter.js';
import type { Adapter, NamedTensors } from '../../methods/method.js';
import type { HeadFiles } from '../../tasks/heads/head-request.js';
import type { PeftTask } from '../../tasks/task.js';
import type { Optimizer } from '../optimizer/adamw.js';
import {
  FOUND,
  restoreCheckpoint,
  saveCheckpoint,
  type Identity,
  type Position,
} from './checkpoint.js';
import type { Restored, State } from './checkpoint.js';
import type { FactOfRun } from '../facts.js';

export interface RunFilesOptions extends HeadFiles {
  readonly base: Base;
  /** Name of the base in the adapter's config: a hub id or a path. */
  readonly baseName: string;
  readonly task: PeftTask;
  readonly identity: Identity;
  /** Folder of the written files. */
  readonly workDir: string;
}

type End = Pick<Position, 'step' | 'trainedTokens' | 'best'>;

export class RunFiles {
  private readonly spec: Spec;
  private readonly best: BestFiles;

  constructor(
    private readonly options: RunFilesOptions,
    private readonly trained: { readonly adapter: Adapter; readonly found: NamedTensors },
    private readonly optimizer: Optimizer,
  ) {
    this.spec = options.identity.spec;
    this.best = new BestFiles(options.workDir);
  }

  checkpoint(position: Position): FactOfRun<'saved'> {
    const { step, best } = position;
    const dir = `${this.options.workDir}/checkpoint-${step}`;
    const write = (tmp: string): readonly string[] => {
      if (best && best.step < step) this.best.putInCheckpoint(tmp);
      // A full model is not written twice: the trainable parameters are the model.
      return this.spec.peft === null ? [] : this.write(tmp, position);
    };
    const saved = saveCheckpoint(dir, this.state(), this.options.identity, position, write);
    if (best?.step === step) this.best.take(dir, saved.adapter);
    return { type: 'saved', step, dir, ...saved, best: best?.step === step };
  }

  /**
   * Writes the adapter in PEFT's format (or the model, after full fine-tuning), from the best evaluation if there is
   * one, otherwise from the current state.
   */
  result(end: End): Omit<FactOfRun<'finished'>, 'forgetting'> {
    const { step, trainedTokens, best } = end;
    const dir = `${this.options.workDir}/adapter`;
    const published = best?.step ?? step;
    const write = (tmp: string): void =>
      published === step ? void this.write(tmp, end) : this.best.copyTo(tmp);
    const adapter = commitFolder(dir, write, null);
    return {
      type: 'finished',
      step,
      published_step: published,
      dir,
      adapter,
      trained_tokens: trainedTokens,
    };
  }

  /**
   * Copies a checkpoint's values into the adapter and the optimizer.
   * @returns the position to resume from, and why steps may differ, or null
   */
  restore(dir: string): { position: Restored; nondeterminism: string | null } {
    const restored = restoreCheckpoint(dir, this.state(), this.options.identity);
    const { step, best } = restored.position;
    if (best) this.best.takeFromCheckpoint(dir, best.step < step);
    this.optimizer.steps = step;
    this.trained.adapter.restored?.();
    return restored;
  }

  private write(dir: string, { step, best }: Pick<Position, 'step' | 'best'>): readonly string[] {
    const { base, baseName, task, headConfig, vocabulary } = this.options;
    const { peft } = this.spec;
    const evaluation = best?.step === step ? best : null;
    const facts = { base, baseName, task, headConfig, vocabulary, peft, evaluation };
    return writeAdapter(dir, this.trained.adapter, facts);
  }

  private state(): State {
    const { adapter, found } = this.trained;
    const parameters = [...adapter.parameters].map(([name, parameter]): [string, Tensor] => [
      `p.${name}`,
      parameter,
    ]);
    const own = [...(adapter.state?.() ?? [])].map(([name, tensor]): [string, Tensor] => [
      `s.${name}`,
      tensor,
    ]);
    const start = [...found].map(([name, tensor]): [string, Tensor] => [`${FOUND}${name}`, tensor]);
    return new Map([...parameters, ...this.optimizer.moments(), ...own, ...start]);
  }
}
