import type { JobObject, JobPreviewObject } from '@graft/contracts';
import type { Command } from 'commander';
import { ApiError, type Api } from '../client/api.js';
import { checkBody, removeFiles, withFiles } from '../requests/body-files.js';
import { callOf, type Call } from '../command-line/command-line.js';
import { withIds } from '../requests/names-in-body.js';
import { askJob } from '../requests/ask-job.js';
import { canAsk } from '../output/prompts.js';
import { bodyOf, withJobFlags, type JobFlags } from '../requests/job-body.js';
import { heldOutText, lineOf, planCard } from '../output/plan-card.js';
import type { Body } from '../requests/read-body.js';
import { printable, type Output } from '../output/terminal.js';
import type { Mapping } from '../client/upload.js';
import { watchToEnd } from '../output/watch-job.js';
import { GRAFT } from '../called.js';

/** Options that say how to send the body of a job. */
export interface SubmitOptions {
  readonly watch?: boolean;
  readonly dryRun?: boolean;
  readonly map?: Mapping;
}

export function addSubmit(program: Command): void {
  withSending(
    program
      .command('submit')
      .description('Train a model; on a terminal, asks for what is missing')
      .argument(
        '[body]',
        'JSON file with the body of POST /v1/fine_tuning/jobs; flags override its fields',
      ),
  ).action(
    async (bodyFile: string | undefined, options: SubmitOptions & JobFlags, command: Command) => {
      const call = callOf(command);
      const isOpen = options.model === undefined || options.train === undefined;
      if (bodyFile === undefined && isOpen && canAsk() && !call.out.json)
        return sendAsked(call, options);
      const body = bodyOf(bodyFile, options, 'POST /v1/fine_tuning/jobs');
      return send(call, await withIds(call.api(), body, options), options);
    },
  );
}

/** Adds the flags of the job and those that say how to send it. */
export const withSending = (command: Command): Command =>
  withJobFlags(command)
    .option('-w, --watch', 'show progress until the job ends')
    .option(
      '--dry-run',
      'show the plan (steps, time, memory, truncated examples) without creating the job',
    );

/** Asks for the job on the terminal, and creates it. */
async function sendAsked({ out, api }: Call, options: SubmitOptions & JobFlags): Promise<void> {
  const asked = await askJob(api(), options);
  if (asked === null) return;
  const job = await api().post<JobObject>('/fine_tuning/jobs', asked.body);
  out.note(`The same again: ${asked.command}`);
  if (options.watch === true) return watchToEnd(api(), job.id, out);
  out.line(`${job.id} ${job.status}: ${job.graft.phase.message}`);
  out.note(`Follow it: ${GRAFT} watch ${out.id(job.id)}`);
}

/** Creates the job, or shows its plan with --dry-run. Follows the job with --watch. */
export async function send({ out, api }: Call, body: Body, options: SubmitOptions): Promise<void> {
  if (options.dryRun === true) return dryRun(api(), body, out, options.map);
  const job = await submit(api(), body, out, options.map);
  if (options.watch === true) return watchToEnd(api(), job.id, out);
  if (out.json) return out.value(job);
  out.line(`${job.id} ${job.status}: ${job.graft.phase.message}`);
  out.note(`Follow it: ${GRAFT} watch ${job.id}`);
}

/** Uploads local files, prints the plan and creates the job. */
export async function submit(
  api: Api,
  body: Body,
  out: Output,
  columns: Mapping = {},
): Promise<JobObject> {
  await checkBody(api, body);
  return withFiles(api, { body, columns }, out, async ({ sent }) => {
    if (!out.json) await announce(api, sent, out);
    return api.post<JobObject>('/fine_tuning/jobs', sent);
  });
}

/** Prints the plan of the job and deletes the files that it had to upload. */
async function dryRun(api: Api, body: Body, out: Output, columns: Mapping = {}): Promise<void> {
  await checkBody(api, body);
  await withFiles(api, { body, columns }, out, async ({ sent, uploaded }) => {
    const preview = await api.post<JobPreviewObject>(PREVIEW, sent);
    await removeFiles(api, uploaded);
    if (out.json) out.value(preview);
    else out.line(planCard(preview));
  });
}

const PREVIEW = '/fine_tuning/jobs/preview';

/** Prints the plan of the job in one line, with its warnings. Continues if the server cannot make a preview. */
async function announce(api: Api, sent: Body, out: Output): Promise<void> {
  try {
    const preview = await api.post<JobPreviewObject>(PREVIEW, sent);
    out.note(lineOf(preview));
    const heldOut = heldOutText(preview);
    if (heldOut !== null) out.note(`${heldOut}; use --no-validation-split to train on them`);
    for (const warning of preview.warnings) out.note(`warning: ${printable(warning)}`);
  } catch (error) {
    const silent = error instanceof ApiError && (error.status >= 500 || error.code === 'not_found');
    if (!silent) throw error;
  }
}
