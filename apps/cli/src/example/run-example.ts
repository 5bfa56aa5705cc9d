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

/** Results of the first run that later runs reuse. */
interface Prepared {
  readonly base: string;
  readonly trainFile: string;
  readonly heldOutFile: string;
  /** Answers of the base model. Null if the base cannot answer. */
  readonly before: Answers | null;
}

/** Context of all steps. */
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

/** Runs an example through the public API: prepares it, trains, evaluates, and prints the results. */
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
  const prepared = (await preparedBefore(call)) ?? (await prepare(call));
  const job = await submit(call, prepared);
  out.line(
    `\nJob ${job.id}: LoRA on ${prepared.base}, ${basename(data.trainFile)}\nLive at ${installation.page(`jobs/${job.id}`)}`,
  );
  const ended = await followJob(api, job.id, out, signal);
  if (signal.aborted) return;
  if (ended.status !== 'succeeded' || ended.fine_tuned_model === null) {
    throw new CliError(
      `the example job ended as ${ended.status}: ${printable(ended.error?.message ?? ended.graft.phase.message)} (see ${graftFor(home)} logs ${job.id})`,
    );
  }
  out.line(ending(ended));
  const folder = join(home, 'adapters', ended.id);
  await saveModel(api, ended.fine_tuned_model, { out: folder });
  const title = 'evaluating the fine-tuned model';
  const after = await ask(call, ended.fine_tuned_model, title);
  if (signal.aborted) return;
  report(call, {
    before: prepared.before,
    after,
    base: prepared.base,
    model: ended.fine_tuned_model,
  });
  nextSteps(call, ended, folder);
}

const ask = ({ api, kind, data, out, signal }: Call, model: string, title: string) =>
  askModel({ api, model, question: kind.question, examples: data.heldOut, title, out, signal });

async function prepare(call: Call): Promise<Prepared> {
  const { kind, api, cache, data, out, signal } = call;
  const own = process.env.GRAFT_EXAMPLE_BASE;
  const base = own ? { source: own, title: own } : await kind.base(cache, out);
  out.note(`Base model: ${base.title}`);
  const model = await importModel(api, { source: base.source }, out);
  const [train, heldOut] = [await api.upload(data.trainFile), await api.upload(data.heldOutFile)];
  out.note(
    `Data: ${basename(data.trainFile)} (${train.id}) and ${basename(data.heldOutFile)} (${heldOut.id}), ${kind.licence}`,
  );
  const title = 'evaluating the base model';
  const before = kind.asksBase ? await ask(call, model.id, title) : null;
  if (signal.aborted) throw new CliError('interrupted', 130);
  const prepared: Prepared = {
    base: model.id,
    trainFile: train.id,
    heldOutFile: heldOut.id,
    before,
  };
  await writeFile(preparedPath(call), JSON.stringify({ ...prepared, data: data.trainFile }));
  return prepared;
}

const preparedPath = ({ home, kind }: Call): string => join(home, `example-${kind.name}.json`);

/** Results of an earlier run. Null if the data has changed or the API no longer has all of them. */
async function preparedBefore(call: Call): Promise<Prepared | null> {
  const { kind, api, data } = call;
  try {
    const prepared = JSON.parse(readFileSync(preparedPath(call), 'utf8')) as Prepared & {
      data: string;
    };
    if (
      prepared.data !== data.trainFile ||
      prepared.before?.length !== (kind.asksBase ? data.heldOut.length : undefined)
    )
      return null;
    const model = await api.get<ModelObject>(`/models/${encodeURIComponent(prepared.base)}`);
    await api.get<FileObject>(`/files/${prepared.trainFile}`);
    await api.get<FileObject>(`/files/${prepared.heldOutFile}`);
    return model.graft?.status === 'ready' ? prepared : null;
  } catch {
    return null; // There was no earlier run, or some of its results were deleted.
  }
}

const submit = ({ api, kind }: Call, prepared: Prepared): Promise<JobObject> =>
  api.post<JobObject>('/fine_tuning/jobs', {
    ...kind.job,
    model: prepared.base,
    training_file: prepared.trainFile,
    validation_file: prepared.heldOutFile,
  });

/** Fraction of correct answers. */
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
    `\nAnswers to held-out ${kind.several} (not in the training data) ${before ? 'before and after training' : 'after training'}`,
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
  out.line(table([kind.heading, 'label', ...titles], rows, { width: out.width }));
  const percent = (fraction: number): string => `${(fraction * 100).toFixed(1)} %`;
  const guessed = before ? '' : ' (chance, because the base has no labels)';
  out.line(
    `\nHeld-out score (correct answers out of ${examples.length}): before ${percent(scores.before)}${guessed}, after ${percent(scores.after)}`,
  );
}

/** Indices of the examples to print, grouped by label: eight in total, or one per label if there are more labels. */
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
  out.line(
    `\nTry next, in another terminal in this folder (npx graft works only inside the clone):\n${commands.join('\n')}\n`,
  );
}
