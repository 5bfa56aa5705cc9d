import type { JobObject, JobPreviewObject } from '@graft/contracts';
import type { Command } from 'commander';
import { ApiError, type Api } from '../client/api.js';
import { removeFiles, withFiles } from '../requests/body-files.js';
import { callOf, type Call } from '../command-line/command-line.js';
import { bodyOf, withJobFlags, type JobFlags } from '../requests/job-body.js';
import { heldOutText, lineOf, planCard } from '../output/plan-card.js';
import type { Body } from '../requests/read-body.js';
import { printable, type Output } from '../output/terminal.js';
import type { Mapping } from '../client/upload.js';
import { watchToEnd } from '../output/watch-job.js';

/** What becomes of a job's body. */
export interface SubmitOptions {
  readonly watch?: boolean;
  readonly dryRun?: boolean;
  readonly map?: Mapping;
}

export function addSubmit(program: Command): void {
  withSending(
    program
      .command('submit')
      .description('create a fine-tuning job; flags override fields of the request file')
      .argument('[body]', 'JSON file with the body of POST /v1/fine_tuning/jobs'),
  ).action(
    async (bodyFile: string | undefined, options: SubmitOptions & JobFlags, command: Command) =>
      send(callOf(command), bodyOf(bodyFile, options, 'POST /v1/fine_tuning/jobs'), options),
  );
}

/** The flags that say what a job is, and what becomes of it. */
export const withSending = (command: Command): Command =>
  withJobFlags(command)
    .option('-w, --watch', 'show progress until the job ends')
    .option(
      '--dry-run',
      'show what the job would do (steps, time, memory, truncated examples) without creating it',
    );

/** Creates the job, or shows what it would be; and follows it where that is asked for. */
export async function send({ out, api }: Call, body: Body, options: SubmitOptions): Promise<void> {
  if (options.dryRun === true) return dryRun(api(), body, out, options.map);
  const job = await submit(api(), body, out, options.map);
  if (options.watch === true) return watchToEnd(api(), job.id, out);
  if (out.json) return out.value(job);
  out.line(`${job.id} ${job.status}: ${job.graft.phase.message}`);
  out.note(`follow it with graft watch ${job.id}`);
}

/** Uploads what is a path here, says what the job will be, and creates it. */
export function submit(
  api: Api,
  body: Body,
  out: Output,
  columns: Mapping = {},
): Promise<JobObject> {
  return withFiles(api, { body, columns }, out, async ({ sent }) => {
    if (!out.json) await announce(api, sent, out);
    return api.post<JobObject>('/fine_tuning/jobs', sent);
  });
}

/** Shows what the job would be; the files that it had to upload go again. */
async function dryRun(api: Api, body: Body, out: Output, columns: Mapping = {}): Promise<void> {
  await withFiles(api, { body, columns }, out, async ({ sent, uploaded }) => {
    const preview = await api.post<JobPreviewObject>(PREVIEW, sent);
    await removeFiles(api, uploaded);
    if (out.json) out.value(preview);
    else out.line(planCard(preview));
  });
}

const PREVIEW = '/fine_tuning/jobs/preview';

/** What the job will be, in a line, and what its owner should know; a server that cannot say is no reason to stop. */
async function announce(api: Api, sent: Body, out: Output): Promise<void> {
  try {
    const preview = await api.post<JobPreviewObject>(PREVIEW, sent);
    out.note(lineOf(preview));
    const heldOut = heldOutText(preview);
    if (heldOut !== null) out.note(`${heldOut}; --no-validation-split trains on all of them`);
    for (const warning of preview.warnings) out.note(`warning: ${printable(warning)}`);
  } catch (error) {
    const silent = error instanceof ApiError && (error.status >= 500 || error.code === 'not_found');
    if (!silent) throw error;
  }
}
