// `graft run job.json --out DIR`: runs a job in this process, without a server.
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { DomainError, duration, lineOf, mediaSpeeds, planLine } from '@graft/contracts';
import {
  kernelsInfo,
  listNumbered,
  loadBase,
  usedMemory,
  openRun,
  runEventOf,
  removeFolder,
  RunGroup,
  setDevice,
  setThreads,
  sweepTemporary,
  takeTurn,
  type FactOfRun,
  type Metrics,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { metricsOf } from '@graft/peft-core/catalog';
import { readJobFile, type LocalJob } from './job-file.js';
import { MetricsFile } from './metrics-file.js';
import { Progress } from './progress.js';

const USAGE = `graft run job.json --out DIR [--threads N] [--device DEVICE] [--tokens-per-forward N]

job.json is the body of POST /v1/fine_tuning/jobs with "model": "dir:PATH" (a Hugging Face folder or a
.gguf file) and paths for training_file and validation_file. The adapter, in PEFT's format, and
metrics.jsonl are written to DIR. DEVICE is auto, cpu or cuda:N (default: the first GPU, otherwise the
CPU). Ctrl-C saves a checkpoint in DIR/.checkpoint; run the same command again to resume from it.
`;

interface Options {
  readonly job: string;
  readonly out: string;
  readonly threads: number;
  readonly device: string | undefined;
  readonly budget: number | undefined;
}

/** @returns the exit code: 0 done, 1 failed, 2 invalid usage, 130 interrupted with a checkpoint saved */
export async function runLocal(args: readonly string[]): Promise<number> {
  const progress = new Progress();
  try {
    const options = parse(args);
    if (options === null) {
      process.stdout.write(USAGE);
      return 0;
    }
    return await new LocalRun(options, progress).train();
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    progress.print(`error: ${error.message}${error.param ? ` [${error.param}]` : ''}`);
    return error.code === 'missing_required_parameter' ? 2 : 1;
  }
}

function parse(args: readonly string[]): Options | null {
  const { values, positionals } = parseFlags(args);
  if (values.help) return null;
  const [job] = positionals;
  if (job === undefined || values.out === undefined) {
    throw new DomainError(
      'missing_required_parameter',
      `a job file and --out are required\n\n${USAGE}`,
    );
  }
  return {
    job,
    out: resolve(values.out),
    threads: wholeNumber(values.threads, '--threads') ?? availableParallelism(),
    device: deviceName(values.device ?? process.env['GRAFT_DEVICE']),
    budget: wholeNumber(values['tokens-per-forward'], '--tokens-per-forward'),
  };
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        out: { type: 'string', short: 'o' },
        threads: { type: 'string' },
        device: { type: 'string' },
        'tokens-per-forward': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new DomainError('missing_required_parameter', `${(error as Error).message}\n\n${USAGE}`);
  }
}

function wholeNumber(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new DomainError('invalid_value', `${name} must be an integer ≥ 1 (got ${text})`, name);
  return value;
}

/** Returns undefined to select a device automatically. */
function deviceName(text: string | undefined): string | undefined {
  if (text === undefined || text === '' || text === 'auto') return undefined;
  if (/^(cpu|cuda:\d+)$/.test(text)) return text;
  throw new DomainError(
    'invalid_value',
    `--device must be auto, cpu or cuda:N (got ${text})`,
    '--device',
  );
}

/** @throws DomainError if the named device does not exist */
function deviceFor(name: string | undefined): string {
  const { cudaDevices } = kernelsInfo();
  if (name === undefined) return cudaDevices > 0 ? 'cuda:0' : 'cpu';
  if (name !== 'cpu' && Number(name.slice('cuda:'.length)) >= cudaDevices)
    throw new DomainError(
      'invalid_value',
      `--device ${name} does not exist: libtorch can use ${cudaDevices || 'no'} GPUs here`,
      '--device',
    );
  return name;
}

class LocalRun {
  private readonly checkpoints: string;
  private trainedTokens = 0;
  private trainedSeconds = 0;
  private outcome = 1;
  /** Folders of the adapters that the run combines. */
  private mixed: readonly string[] = [];

  constructor(
    private readonly options: Options,
    private readonly progress: Progress,
  ) {
    this.checkpoints = join(options.out, '.checkpoint');
  }

  async train(): Promise<number> {
    const job = readJobFile(this.options.job);
    this.mixed = job.adapterDirs;
    setThreads(this.options.threads);
    setDevice(deviceFor(this.options.device));
    mkdirSync(this.checkpoints, { recursive: true });
    sweepTemporary(this.checkpoints);
    const base = loadBase(job.basePath, {
      dtype: job.spec.base_dtype,
      quantization: job.spec.quantization,
      onProgress: (share: number) => this.progress.waitFor('Loading the base', share),
    });
    const run = this.open(base, job);
    this.introduce(base, run);
    const metrics = new MetricsFile(join(this.options.out, 'metrics.jsonl'), run.fromStep);
    const group = new RunGroup(
      base.model,
      this.options.budget === undefined ? {} : { budget: this.options.budget },
    );
    group.add(run);
    const release = this.onInterrupt(run);
    while (group.size > 0) {
      takeTurn(group, (_, fact) => this.onFact(fact, run, metrics));
      await turn();
    }
    release();
    base.dispose();
    return this.outcome;
  }

  /** Folder of the checkpoint to resume from. */
  private get newest(): string | null {
    return listNumbered(this.checkpoints, 'checkpoint-')[0]?.dir ?? null;
  }

  private open(base: ReturnType<typeof loadBase>, job: LocalJob): Run {
    const { newest } = this;
    return this.resuming(newest, () =>
      openRun(base, job.spec, {
        ...job,
        id: 1,
        baseId: job.basePath,
        checkpointDir: newest,
        workDir: this.checkpoints,
        onPhase: (_, message, share) => this.progress.waitFor(message, share),
        onLog: (level, message) => this.progress.print(`${level}: ${message}`),
      }),
    );
  }

  /** Adds a remedy to the error if a checkpoint cannot be used. */
  private resuming<T>(newest: string | null, work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (
        newest !== null &&
        error instanceof DomainError &&
        ['invalid_state', 'io_error', 'damaged_checkpoint'].includes(error.code)
      ) {
        throw new DomainError(
          error.code,
          `${error.message}\nTo start again, remove ${this.checkpoints}`,
          error.param,
        );
      }
      throw error;
    }
  }

  private introduce(base: ReturnType<typeof loadBase>, run: Run): void {
    const { family, parameterCount, dtype } = base.model;
    const { libtorch, threads } = kernelsInfo();
    this.progress.print(
      planLine({
        examples: run.data.examples.length,
        epochs: run.spec.n_epochs,
        steps: run.data.totalSteps,
        seconds: null,
        trainable: run.trainableParameters,
        total: parameterCount,
      }),
    );
    const heldOut = run.data.validation.length;
    if (run.spec.validation_split !== null)
      this.progress.print(`${heldOut} example${heldOut === 1 ? '' : 's'} held out for validation`);
    this.progress.print(`${family} in ${dtype}; libtorch ${libtorch}, ${threads} threads`);
    if (run.fromStep > 0) this.progress.print(`resuming from step ${run.fromStep}`);
  }

  private onInterrupt(run: Run): () => void {
    const onSignal = (): void => {
      if (run.stopping) process.exit(130);
      run.stopping = 'pause';
      this.progress.print(
        'saving a checkpoint after this step (press Ctrl-C again to exit immediately)',
      );
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
    return () => void process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }

  private onFact(fact: RunFact, run: Run, metrics: MetricsFile): void {
    switch (fact.type) {
      case 'step':
        metrics.step(fact);
        return this.stepped(fact, run);
      case 'evaluated':
        metrics.evaluated(fact);
        return this.progress.print(
          `validation at step ${fact.step}: ${metricsText(fact.metrics, run)}`,
        );
      case 'sampled':
        return this.sampled(fact, run);
      case 'ledger':
        return this.ledger(fact);
      case 'saved':
        // Only the newest checkpoint is needed.
        for (const { step, dir } of listNumbered(this.checkpoints, 'checkpoint-'))
          if (step < fact.step) removeFolder(dir);
        return;
      case 'finished':
        return this.finished(fact);
      case 'stopped':
        this.outcome = 130;
        return this.progress.print(`stopped at step ${fact.step}; run the same command to resume`);
      case 'failed':
        return this.progress.print(`error: ${fact.message}${fact.param ? ` [${fact.param}]` : ''}`);
      case 'log':
        return this.progress.print(`${fact.level === 'warn' ? 'warning: ' : ''}${fact.message}`);
      default:
        return this.progress.print(lineOf(runEventOf(fact), run.data.totalSteps));
    }
  }

  private sampled({ step, samples }: FactOfRun<'sampled'>, { spec }: Run): void {
    for (const [i, { text }] of samples.entries()) {
      const prompt = spec.sample_prompts?.[i] ?? '';
      const lastMessage = typeof prompt === 'string' ? prompt : prompt.at(-1)?.content;
      this.progress.print(
        `sample at step ${step}: ${JSON.stringify(lastMessage)} → ${JSON.stringify(text)}`,
      );
    }
  }

  private ledger({ examples, mean_loss: meanLoss, rows: [worst] }: FactOfRun<'ledger'>): void {
    if (worst)
      this.progress.print(
        `loss ledger: mean loss ${meanLoss.toFixed(4)} of ${examples} examples, worst at line ${worst.line} (${worst.loss.toFixed(4)})`,
      );
  }

  private stepped(fact: FactOfRun<'step'>, run: Run): void {
    this.trainedTokens += fact.tokens;
    this.trainedSeconds += fact.seconds;
    const perStep = this.trainedSeconds / (fact.step - run.fromStep);
    this.progress.update({
      step: fact.step,
      rssBytes: fact.rss_bytes,
      loss: fact.metrics.loss,
      totalSteps: run.data.totalSteps,
      tokensPerSecond: this.trainedTokens / this.trainedSeconds,
      speeds: mediaSpeeds(metricsOf(run.spec.task).step, fact.metrics),
      etaSeconds: perStep * (run.data.totalSteps - fact.step),
    });
  }

  /** Moves the adapter to the output folder. Adapters that it combines are copied into a folder each. */
  private finished(fact: FactOfRun<'finished'>): void {
    for (const [i, dir] of this.mixed.entries()) {
      const part = join(this.options.out, String(i));
      mkdirSync(part, { recursive: true });
      for (const name of ['adapter_config.json', 'adapter_model.safetensors'])
        copyFileSync(join(dir, name), join(part, name));
    }
    for (const { name } of fact.adapter)
      renameSync(join(fact.dir, name), join(this.options.out, name));
    removeFolder(this.checkpoints);
    this.outcome = 0;
    const rate = this.trainedSeconds === 0 ? 0 : this.trainedTokens / this.trainedSeconds;
    this.progress.print(
      `done: ${fact.step} steps, ${fact.trained_tokens} tokens in ${duration(this.trainedSeconds)}, ` +
        `${rate.toFixed(1)} tokens/s, peak memory ${(usedMemory().peakBytes / 2 ** 30).toFixed(2)} GiB`,
    );
    const ofBest =
      fact.published_step < fact.step
        ? ` (of step ${fact.published_step}, the best evaluation)`
        : '';
    this.progress.print(`adapter: ${this.options.out}${ofBest}`);
  }
}

/** Returns the metrics that charts show, as text. */
function metricsText(values: Metrics, { task }: Run): string {
  return task.metrics
    .filter(({ draw }) => draw !== null)
    .map(({ name, unit }) => {
      const value = values[name] ?? NaN;
      return `${name} ${unit === '%' ? `${(100 * value).toFixed(1)} %` : value.toFixed(4)}`;
    })
    .join(', ');
}

function turn(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}
