import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { FileObject, JobObject, ModelObject } from '@graft/contracts';
import type { Api } from '../api.js';
import { CliError } from '../cli-error.js';
import { saveModel } from '../archive.js';
import { importModel } from '../commands/models.js';
import { ending } from '../commands/watch.js';
import { followJob } from '../job-progress.js';
import { graftFor, type Settings } from '../settings.js';
import { printable, type Output } from '../terminal.js';
import type { Installation } from '../up/installation.js';
import { exampleBase } from './base.js';
import { askAll, isRight, score, type Answers } from './score.js';
import { spamData, type Example, type SpamData } from './spam-data.js';

/** The example's job, as anybody would send it. docs/results.md says what these numbers give. */
const PEFT = { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' };
const HYPERPARAMETERS = { n_epochs: 1, batch_size: 4 };
const GRAFT = { learning_rate: 5e-4, lr_schedule: 'cosine', warmup_ratio: 0.1 };

/** What a first run leaves for the next: nothing of it is done twice. */
interface Kept {
  readonly base: string;
  readonly trainFile: string;
  readonly heldOutFile: string;
  readonly before: Answers;
}

/** The main job, end to end, through the public API; prints what it did and what came of it. */
export async function runExample(
  installation: Installation,
  settings: Settings,
  out: Output,
  signal: AbortSignal,
): Promise<void> {
  const { api } = installation;
  const cache = join(settings.home, 'cache');
  const data = await spamData(cache, out);
  const kept =
    (await keptFrom(settings.home, api, data)) ??
    (await prepare(api, settings.home, cache, data, out, signal));
  const job = await submit(api, kept);
  out.line(
    `\nJob ${job.id}: LoRA on ${kept.base}, ${basename(data.trainFile)} \nlive at ${installation.page(`jobs/${job.id}`)}`,
  );
  const ended = await followJob(api, job.id, out, signal);
  if (signal.aborted) return;
  if (ended.status !== 'succeeded' || ended.fine_tuned_model === null) {
    throw new CliError(
      `the example job ${ended.status}: ${printable(ended.error?.message ?? ended.graft.phase.message)} (graft logs ${job.id})`,
    );
  }
  out.line(ending(ended));
  const folder = join(settings.home, 'adapters', ended.id);
  await saveModel(api, ended.fine_tuned_model, { out: folder });
  const after = await askAll(
    api,
    ended.fine_tuned_model,
    data.heldOut,
    'evaluating the fine-tuned model',
    out,
    signal,
  );
  if (signal.aborted) return;
  report(
    {
      before: kept.before,
      after,
      examples: data.heldOut,
      base: kept.base,
      model: ended.fine_tuned_model,
    },
    out,
  );
  nextSteps({ installation, home: settings.home, folder }, ended, out);
}

async function prepare(
  api: Api,
  home: string,
  cache: string,
  data: SpamData,
  out: Output,
  signal: AbortSignal,
): Promise<Kept> {
  const base = await exampleBase(cache, out);
  out.note(`base model: ${base.title}`);
  const model = await importModel(api, base.source, out);
  const [train, heldOut] = [await api.upload(data.trainFile), await api.upload(data.heldOutFile)];
  out.note(
    `data: ${basename(data.trainFile)} (${train.id}) and ${basename(data.heldOutFile)} (${heldOut.id}), public domain`,
  );
  const before = await askAll(
    api,
    model.id,
    data.heldOut,
    'evaluating the base model',
    out,
    signal,
  );
  if (signal.aborted) throw new CliError('interrupted', 130);
  const kept: Kept = { base: model.id, trainFile: train.id, heldOutFile: heldOut.id, before };
  await writeFile(keptPath(home), JSON.stringify({ ...kept, data: data.trainFile }));
  return kept;
}

const keptPath = (home: string): string => join(home, 'example.json');

/** What an earlier run left, when the API still has all of it and the data is the same. */
async function keptFrom(home: string, api: Api, data: SpamData): Promise<Kept | null> {
  try {
    const kept = JSON.parse(readFileSync(keptPath(home), 'utf8')) as Kept & { data: string };
    if (kept.data !== data.trainFile || kept.before.length !== data.heldOut.length) return null;
    const model = await api.get<ModelObject>(`/models/${encodeURIComponent(kept.base)}`);
    await api.get<FileObject>(`/files/${kept.trainFile}`);
    await api.get<FileObject>(`/files/${kept.heldOutFile}`);
    return model.graft?.status === 'ready' ? kept : null;
  } catch {
    return null; // nothing kept, or something of it was deleted: prepare again
  }
}

function submit(api: Api, kept: Kept): Promise<JobObject> {
  return api.post<JobObject>('/fine_tuning/jobs', {
    model: kept.base,
    training_file: kept.trainFile,
    validation_file: kept.heldOutFile,
    suffix: 'spam',
    seed: 1,
    method: { type: 'supervised', supervised: { hyperparameters: HYPERPARAMETERS } },
    peft: PEFT,
    graft: GRAFT,
  });
}

interface Outcome {
  readonly before: Answers;
  readonly after: Answers;
  readonly examples: readonly Example[];
  readonly base: string;
  readonly model: string;
}

function report({ before, after, examples, base, model }: Outcome, out: Output): void {
  const scores = { before: score(before, examples), after: score(after, examples) };
  if (out.json) return out.value({ base, model, scores, before, after });
  out.line('\nHeld-out mails (not in the training data): answers before and after');
  out.line(`  ${'subject'.padEnd(44)} ${'is'.padEnd(5)} ${'before'.padEnd(26)} after`);
  for (const at of shown(examples)) {
    const example = examples[at] as Example;
    const cell = (answer: string): string =>
      `${isRight(answer, example) ? '✓' : '✗'} ${short(answer, 22)}`;
    out.line(
      `  ${short(example.mail.subject, 42).padEnd(44)} ${example.label.padEnd(5)} ${cell(before[at] ?? '').padEnd(26)} ${cell(after[at] ?? '')}`,
    );
  }
  const percent = (fraction: number): string => `${(fraction * 100).toFixed(1)} %`;
  out.line(
    `\nHeld-out score (correct answers out of ${examples.length}): before ${percent(scores.before)}, after ${percent(scores.after)}`,
  );
}

// the first four of each label
function shown(examples: readonly Example[]): number[] {
  const of = (label: string): number[] =>
    examples.flatMap((one, at) => (one.label === label ? [at] : [])).slice(0, 4);
  return [...of('spam'), ...of('ham')];
}

function short(text: string, length: number): string {
  const line = printable(text).replaceAll(/\s+/g, ' ');
  return line.length <= length ? line : `${line.slice(0, length - 1)}…`;
}

function nextSteps(
  { installation, home, folder }: { installation: Installation; home: string; folder: string },
  job: JobObject,
  out: Output,
): void {
  if (out.json) return out.value({ adapter: folder, dashboard: installation.address, job: job.id });
  const graft = graftFor(home);
  out.line(`\nAdapter (loads in Hugging Face PEFT): ${folder}`);
  out.line(`Dashboard: ${installation.page()}`);
  out.line(`\nTo try next, in another terminal:
  ${graft} chat ${job.fine_tuned_model} "Subject: You have won a holiday"
  ${graft} jobs
  ${graft} submit --model ${job.model} --train yours.jsonl --method LORA --set peft.r=16 --watch\n`);
}
