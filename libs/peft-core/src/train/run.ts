// An attempt inside a trainer: the adapter, the optimiser's state and the place in the data.
import { DomainError, type Spec } from '@graft/contracts';
import { memory, tidy } from '@graft/kernels';
import { attachMethod } from '../build.js';
import { loadExamples, type Example } from '../data/examples.js';
import { linesInWords } from '../data/line-ranges.js';
import { order } from '../data/order.js';
import type { Base } from '../io/base-folder.js';
import { commitFolder, hashFile, type FileFact } from '../io/commit-folder.js';
import { readAdapter, writeAdapter } from '../io/peft-adapter.js';
import type { Adapter } from '../methods/method.js';
import { methodFor } from '../methods/registry.js';
import { virtualTokens } from './virtual-tokens.js';
import { AdamW } from './adamw.js';
import { Cadence } from './cadence.js';
import { restoreCheckpoint, saveCheckpoint, type Identity, type State } from './checkpoint.js';
import { cursorAt, stepsPerEpoch, totalSteps } from './cursor.js';
import type { FactOfRun, StopReason } from './facts.js';
import type { LossSum } from './loss.js';
import { rateAt, warmupSteps } from './schedule.js';
import { Watch } from './watch.js';

export interface RunOptions {
  /** Number of the run in its pack. */
  readonly id: number;
  /** Id of the base, in checkpoints: they go on on the same one only. */
  readonly baseId: string;
  /** What the adapter's config calls the base: a hub's id or a path. Default: its id. */
  readonly baseName?: string;
  readonly trainFile: string;
  readonly validFile?: string | null;
  /** Folder of an adapter to begin from. */
  readonly initAdapterDir?: string | null;
  /** Folder of a checkpoint to resume from. */
  readonly checkpointDir?: string | null;
  /** Where checkpoints and the adapter are written. */
  readonly workDir: string;
  readonly onPhase?: (code: string, message: string, progress: number | null) => void;
  readonly onLog?: (level: 'info' | 'warn', message: string) => void;
}

/** At most this many validation examples are used before the end. */
const SAMPLE = 64;

export class Run {
  /** Optimiser steps done. */
  step = 0;
  trainedTokens = 0;
  /** Set to make the loop take the run out at the next step boundary. */
  stopping: StopReason | null = null;
  readonly totalSteps: number;
  readonly watch: Watch;
  readonly fromStep: number;
  readonly id: number;
  private readonly optimizer: AdamW;
  private readonly cadence: Cadence;
  private readonly hasVirtualTokens: boolean;
  private order: { epoch: number; indices: Uint32Array } | null = null;

  private constructor(
    private readonly base: Base,
    readonly spec: Spec,
    private readonly options: RunOptions,
    private readonly identity: Identity,
    readonly adapter: Adapter,
    readonly examples: readonly Example[],
    readonly validation: readonly Example[],
  ) {
    this.id = options.id;
    this.totalSteps = totalSteps(spec, examples.length);
    this.watch = new Watch({
      vocabularySize: base.model.vocabSize,
      warmupSteps: warmupSteps(this.totalSteps, spec.warmup_ratio),
      learningRate: spec.learning_rate,
    });
    this.hasVirtualTokens = base.model.sites.inputs.of(options.id) !== undefined;
    this.optimizer = new AdamW(adapter.parameters, { weightDecay: spec.weight_decay });
    try {
      if (options.checkpointDir) this.resume(options.checkpointDir);
    } catch (error) {
      this.optimizer.dispose();
      throw error;
    }
    this.fromStep = this.step;
    this.cadence = new Cadence(spec.save_steps, this.fromStep);
  }

  /**
   * Reads and tokenises the data, attaches the method, and resumes where a checkpoint is given.
   * @throws DomainError for anything a user can mend: data, options, an adapter that does not fit
   */
  static open(base: Base, spec: Spec, options: RunOptions): Run {
    const phase = options.onPhase ?? (() => undefined);
    const adapter = attachMethod(base.model, spec.peft, {
      run: options.id,
      seed: spec.seed,
      tokenize: (text: string) => base.tokenizer.encode(text, { special: true }),
    });
    try {
      if (options.initAdapterDir) beginFrom(options.initAdapterDir, spec, adapter);
      const room = base.model.maxPositions - virtualTokens(base.model, options.id);
      const maxSeqLen = Math.min(spec.max_seq_len ?? room, room);
      const load = (path: string, param: string): Example[] =>
        loadExamples(path, base.tokenizer, {
          maxSeqLen,
          task: spec.task,
          param,
          // A run that older builds began, which passed over such examples, goes on with its data as they were.
          ...(options.checkpointDir
            ? { onLost: (lines) => options.onLog?.('warn', lostInWords(param, lines)) }
            : {}),
          onCut: (lines) => options.onLog?.('info', cutInWords(param, lines, maxSeqLen)),
          onProgress: (progress: number) =>
            phase('reading_data', 'Reading and tokenising the data', progress),
        });
      const examples = load(options.trainFile, 'training_file');
      if (examples.length === 0)
        throw new DomainError(
          'invalid_training_file',
          'the training file has no examples',
          'training_file',
        );
      const validation = options.validFile ? load(options.validFile, 'validation_file') : [];
      const identity = { baseId: options.baseId, spec, datasetSha256: hashFile(options.trainFile) };
      return new Run(base, spec, options, identity, adapter, examples, validation);
    } catch (error) {
      adapter.detach();
      throw error;
    }
  }

  get done(): boolean {
    return this.step >= this.totalSteps;
  }

  get trainableParameters(): number {
    let total = 0;
    for (const parameter of this.adapter.parameters.values()) total += parameter.size;
    return total;
  }

  /** Examples of the optimiser step `step`, counted from 0. */
  examplesAt(step: number): Example[] {
    const { epoch, from, to } = cursorAt(this.spec, this.examples.length, step);
    if (this.order?.epoch !== epoch) {
      this.order = {
        epoch,
        indices: order(this.spec.seed, epoch, this.examples.length, this.spec.shuffle),
      };
    }
    return Array.from(
      this.order.indices.subarray(from, to),
      (index) => this.examples[index] as Example,
    );
  }

  /** Tokens that count in the loss of these examples; at least 1. */
  supervisedIn(examples: readonly Example[]): number {
    let count = 0;
    for (const { labels, first } of examples) {
      if (this.hasVirtualTokens && first !== undefined && first >= 0) count++;
      for (const label of labels) if (label >= 0) count++;
    }
    return Math.max(1, count);
  }

  backwardPenalty(): void {
    if (this.adapter.penalty) tidy(() => this.adapter.penalty?.().backward());
  }

  /**
   * Clips the gradients and moves the parameters.
   * @throws DomainError nonfinite, leaving the parameters as they were
   */
  update(sum: LossSum): Omit<FactOfRun<'step'>, 'seconds'> {
    const loss = sum.loss / Math.max(1, sum.count);
    const gradNorm = this.optimizer.clip(this.spec.max_grad_norm);
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      const what = Number.isFinite(loss) ? `gradient norm ${gradNorm}` : `loss ${loss}`;
      throw new DomainError(
        'nonfinite',
        `step ${this.step + 1}: ${what}; lower the learning rate or use base_dtype f32`,
        'graft.learning_rate',
      );
    }
    const { spec } = this;
    const tokens = this.examplesAt(this.step).reduce(
      (total, example) => total + example.tokens.length,
      0,
    );
    const warmup = warmupSteps(this.totalSteps, spec.warmup_ratio);
    const learningRate =
      spec.learning_rate * rateAt(spec.lr_schedule, this.step, warmup, this.totalSteps);
    this.optimizer.step(learningRate);
    this.step++;
    this.adapter.afterStep?.(this.step);
    this.trainedTokens += tokens;
    return {
      type: 'step',
      step: this.step,
      loss,
      learningRate,
      gradNorm,
      tokens,
      supervisedTokens: sum.count,
      accuracy: sum.correct / Math.max(1, sum.count),
      rssBytes: memory().rssBytes,
    };
  }

  /** Validation examples to look at now: none, a sample, or all of them at the end. */
  evaluationDue(): { examples: readonly Example[]; full: boolean } | null {
    if (this.validation.length === 0) return null;
    if (this.done) return { examples: this.validation, full: true };
    if (this.spec.eval_steps === 0 || this.step % this.spec.eval_steps !== 0) return null;
    return { examples: this.validation.slice(0, SAMPLE), full: this.validation.length <= SAMPLE };
  }

  /** Whether a checkpoint of this very step was made, or it goes on from one, or nothing was trained yet. */
  get isSaved(): boolean {
    return this.cadence.savedStep === this.step;
  }

  /** At the end too: a short run then has one, as with OpenAI. */
  get checkpointDue(): boolean {
    // The end of full fine-tuning is the model itself, and its checkpoint would hold nothing else of use.
    if (this.done) return this.spec.peft !== null && !this.isSaved;
    const epochEnds = this.step % stepsPerEpoch(this.spec, this.examples.length) === 0;
    return this.cadence.due(this.step, epochEnds);
  }

  checkpoint(): FactOfRun<'saved'> {
    const dir = `${this.options.workDir}/checkpoint-${this.step}`;
    const { epoch, from } = cursorAt(this.spec, this.examples.length, this.step);
    const saved = this.cadence.timed(this.step, () =>
      saveCheckpoint(
        dir,
        this.state(),
        this.identity,
        {
          step: this.step,
          trainedTokens: this.trainedTokens,
          cursor: { epoch, from },
          watch: this.watch.state,
        },
        // A whole model is not written twice: the trainables are it.
        (tmp) => (this.spec.peft === null ? [] : this.write(tmp)),
      ),
    );
    return { type: 'saved', step: this.step, dir, ...saved };
  }

  /** Writes the adapter as PEFT reads it (or the model, after full fine-tuning). */
  finish(): FactOfRun<'finished'> {
    const dir = `${this.options.workDir}/adapter`;
    const adapter: FileFact[] = commitFolder(dir, (tmp) => void this.write(tmp), null);
    return {
      type: 'finished',
      step: this.step,
      dir,
      adapter,
      trainedTokens: this.trainedTokens,
      peakRssBytes: memory().peakRssBytes,
    };
  }

  dispose(): void {
    this.optimizer.dispose();
    this.adapter.detach();
  }

  private write(dir: string): readonly string[] {
    return writeAdapter(dir, this.adapter, {
      base: this.base,
      baseName: this.options.baseName ?? this.options.baseId,
      peft: this.spec.peft,
    });
  }

  private state(): State {
    const parameters = [...this.adapter.parameters].map(
      ([name, parameter]) => [`p.${name}`, parameter] as const,
    );
    return new Map([...parameters, ...this.optimizer.moments()]);
  }

  private resume(dir: string): void {
    const { position, doubt } = restoreCheckpoint(dir, this.state(), this.identity);
    this.step = position.step;
    this.trainedTokens = position.trainedTokens;
    this.optimizer.steps = position.step;
    if (position.watch) this.watch.resume(position.watch);
    if (doubt) this.options.onLog?.('warn', `Resumed from a checkpoint made ${doubt}`);
  }
}

function cutInWords(param: string, lines: readonly number[], maxSeqLen: number): string {
  const most = maxSeqLen.toLocaleString('en');
  return `${lines.length} example${lines.length === 1 ? '' : 's'} of the ${param} cut at ${most} tokens: ${linesInWords(lines)}`;
}

function lostInWords(param: string, lines: readonly number[]): string {
  const one = lines.length === 1;
  return (
    `${lines.length} example${one ? '' : 's'} of the ${param} ${one ? 'has' : 'have'} nothing to learn within max_seq_len, ` +
    `and ${one ? 'stays' : 'stay'}, for the run began so: ${linesInWords(lines)}`
  );
}

function beginFrom(dir: string, spec: Spec, adapter: Adapter): void {
  const stored = readAdapter(dir);
  try {
    const wanted = methodFor(spec.peft).name;
    if (stored.peft.peft_type !== wanted) {
      const message = `the adapter to start from is ${stored.peft.peft_type}, the job trains ${wanted}`;
      throw new DomainError('invalid_adapter', message, 'graft.init_adapter');
    }
    adapter.load(stored.tensors);
  } finally {
    stored.dispose();
  }
}
