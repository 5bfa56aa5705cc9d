import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { FileObject, JobObject, ModelObject } from '@graft/contracts';
import type { Example, ExampleData, HeldOut } from '@graft/examples';
import type { Api } from '../client/api.js';
import { CliError } from '../cli-error.js';
import { saveModel } from '../client/archive.js';
import { importModel } from '../requests/import-model.js';
import { ending } from '../output/watch-job.js';
import { followJob } from '../output/job-progress.js';
import { graftFor, type Settings } from '../config/settings.js';
import { printable, table, type Output } from '../output/terminal.js';
import type { Installation } from '../up/installation.js';
import { askModel, type Answers } from './ask-model.js';

/** What a first run leaves for the next: nothing of it is done twice. */
interface Kept {
  readonly base: string;
  readonly trainFile: string;
  readonly heldOutFile: string;
  /** Null: the base is not asked. */
  readonly before: Answers | null;
}

/** What all steps need. */
interface Call {
  readonly kind: Example;
  readonly installation: Installation;
  readonly api: Api;
  readonly home: string;
  readonly cache: string;
  readonly data: ExampleData;
  readonly out: Output;
  readonly signal: AbortSignal;
}

/** The main job, end to end, through the public API; prints what it did and what came of it. */
export async function runExample(
  kind: Example,
  installation: Installation,
  settings: Settings,
  out: Output,
  signal: AbortSignal,
): Promise<void> {
  const { api } = installation;
  const { home } = settings;
  const cache = join(home, 'cache');
  const data = await kind.data(cache, out);
  const call = { kind, installation, api, home, cache, data, out, signal };
  const kept = (await keptFrom(call)) ?? (await prepare(call));
  const job = await submit(call, kept);
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
  const folder = join(home, 'adapters', ended.id);
  await saveModel(api, ended.fine_tuned_model, { out: folder });
  const title = 'evaluating the fine-tuned model';
  const after = await ask(call, ended.fine_tuned_model, title);
  if (signal.aborted) return;
  report(call, { before: kept.before, after, base: kept.base, model: ended.fine_tuned_model });
  nextSteps(call, ended, folder);
}

const ask = ({ api, kind, data, out, signal }: Call, model: string, title: string) =>
  askModel({ api, model, question: kind.question, examples: data.heldOut, title, out, signal });

async function prepare(call: Call): Promise<Kept> {
  const { kind, api, cache, data, out, signal } = call;
  const own = process.env.GRAFT_EXAMPLE_BASE;
  const base = own ? { source: own, title: own } : await kind.base(cache, out);
  out.note(`base model: ${base.title}`);
  const model = await importModel(api, { source: base.source }, out);
  const [train, heldOut] = [await api.upload(data.trainFile), await api.upload(data.heldOutFile)];
  out.note(
    `data: ${basename(data.trainFile)} (${train.id}) and ${basename(data.heldOutFile)} (${heldOut.id}), ${kind.licence}`,
  );
  const title = 'evaluating the base model';
  const before = kind.asksBase ? await ask(call, model.id, title) : null;
  if (signal.aborted) throw new CliError('interrupted', 130);
  const kept: Kept = { base: model.id, trainFile: train.id, heldOutFile: heldOut.id, before };
  await writeFile(keptPath(call), JSON.stringify({ ...kept, data: data.trainFile }));
  return kept;
}

const keptPath = ({ home, kind }: Call): string => join(home, `example-${kind.name}.json`);

/** What an earlier run left, when the API still has all of it and the data is the same. */
async function keptFrom(call: Call): Promise<Kept | null> {
  const { kind, api, data } = call;
  try {
    const kept = JSON.parse(readFileSync(keptPath(call), 'utf8')) as Kept & { data: string };
    if (
      kept.data !== data.trainFile ||
      kept.before?.length !== (kind.asksBase ? data.heldOut.length : undefined)
    )
      return null;
    const model = await api.get<ModelObject>(`/models/${encodeURIComponent(kept.base)}`);
    await api.get<FileObject>(`/files/${kept.trainFile}`);
    await api.get<FileObject>(`/files/${kept.heldOutFile}`);
    return model.graft?.status === 'ready' ? kept : null;
  } catch {
    return null; // nothing kept, or something of it was deleted: prepare again
  }
}

const submit = ({ api, kind }: Call, kept: Kept): Promise<JobObject> =>
  api.post<JobObject>('/fine_tuning/jobs', {
    ...kind.job,
    model: kept.base,
    training_file: kept.trainFile,
    validation_file: kept.heldOutFile,
  });

/** Share of right answers. */
const score = ({ isRight }: Example, answers: Answers, examples: readonly HeldOut[]): number =>
  examples.filter((example, at) => isRight(answers[at] ?? '', example)).length / examples.length;

interface Outcome {
  readonly before: Answers | null;
  readonly after: Answers;
  readonly base: string;
  readonly model: string;
}

function report({ kind, data, out }: Call, { before, after, base, model }: Outcome): void {
  const examples = data.heldOut;
  const guess = 1 / new Set(examples.map(({ label }) => label)).size;
  const scores = {
    before: before ? score(kind, before, examples) : guess,
    after: score(kind, after, examples),
  };
  if (out.json) return out.value({ base, model, scores, before, after });
  out.line(
    `\nHeld-out ${kind.several} (not in the training data): answers ${before ? 'before and after' : 'after training'}`,
  );
  const columns = before ? [before, after] : [after];
  const titles = before ? ['before', 'after'] : ['answer'];
  const rows = shown(data).map((at) => {
    const example = examples[at] as HeldOut;
    const cells = columns.map((answers) => {
      const answer = answers[at] ?? '';
      return `${kind.isRight(answer, example) ? '✓' : '✗'} ${short(answer, 22)}`;
    });
    return [short(example.shown, 42), example.label, ...cells];
  });
  out.line(table([kind.heading, 'is', ...titles], rows, out.width));
  const percent = (fraction: number): string => `${(fraction * 100).toFixed(1)} %`;
  const guessed = before ? '' : ' (a guess: the base has no labels of its own)';
  out.line(
    `\nHeld-out score (correct answers out of ${examples.length}): before ${percent(scores.before)}${guessed}, after ${percent(scores.after)}`,
  );
}

/** Eight, or one of each label, those of a label together. */
function shown({ heldOut }: ExampleData): number[] {
  const labels = [...new Set(heldOut.map(({ label }) => label))];
  const each = Math.max(1, Math.floor(8 / labels.length));
  return labels.flatMap((label) =>
    heldOut.flatMap((one, at) => (one.label === label ? [at] : [])).slice(0, each),
  );
}

function short(text: string, length: number): string {
  const line = printable(text).replaceAll(/\s+/g, ' ');
  return line.length <= length ? line : `${line.slice(0, length - 1)}…`;
}

function nextSteps(call: Call, job: JobObject, folder: string): void {
  const { kind, installation, home, data, out } = call;
  if (out.json) return out.value({ adapter: folder, dashboard: installation.address, job: job.id });
  out.line(`\nAdapter (loads in Hugging Face PEFT): ${folder}`);
  out.line(`Dashboard: ${installation.page()}`);
  const commands = kind.next(graftFor(home), job, data).map((command) => `  ${command}`);
  out.line(`\nTo try next, in another terminal:\n${commands.join('\n')}\n`);
}
