import type { Catalog, CheckpointObject, JobObject, ModelObject } from '@graft/contracts';
import { createBody } from '@graft/contracts/compared-jobs';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { callName, findJob } from '../find/find-job.js';
import { overBody, type JobFlags } from '../requests/job-body.js';
import type { Body } from '../requests/read-body.js';
import { checkpointsOf, checkpointAt } from './download.js';
import { send, withSending, type SubmitOptions } from './submit.js';

export function addBranch(program: Command): void {
  withSending(
    program
      .command('branch')
      .description('Start a new job from a checkpoint')
      .argument('<job@step>', 'job, and the step of a checkpoint: JOB@STEP, JOB@best or JOB@last'),
  ).action(async (from: string, options: SubmitOptions & JobFlags, command: Command) => {
    const call = callOf(command);
    const { job, checkpoint } = await branchPoint(call.api(), from);
    const body = overBody(await branchBody(call.api(), job, checkpoint), options);
    return send(call, body, options);
  });
}

interface BranchPoint {
  readonly job: JobObject;
  readonly checkpoint: CheckpointObject;
}

async function branchPoint(api: Api, from: string): Promise<BranchPoint> {
  const [, name, at] = /^(.+)@(\d{1,9}|best|last)$/.exec(from) ?? [];
  if (name === undefined || at === undefined)
    throw new CliError(
      `${from}: expected JOB@STEP, e.g. ftjob-…@40, JOB@best or JOB@last; graft checkpoints JOB lists the steps`,
      EXIT.usage,
    );
  const job = await findJob(api, name);
  const checkpoints = await checkpointsOf(api, job.id);
  const checkpoint = chosen(job, checkpoints, at);
  if (checkpoint.graft.usable) return { job, checkpoint };
  throw new CliError(
    `the checkpoint of ${callName(job)} at step ${checkpoint.step_number} can only resume its own job: it has no adapter to start from; choose another step`,
  );
}

function chosen(job: JobObject, checkpoints: readonly CheckpointObject[], at: string) {
  const found =
    at === 'best'
      ? checkpoints.find(({ graft }) => graft.best)
      : at === 'last'
        ? checkpoints[0]
        : checkpointAt(job, checkpoints, Number(at));
  if (found) return found;
  throw new CliError(
    at === 'best'
      ? `${callName(job)} has no best checkpoint, because none was evaluated; name a step`
      : `${callName(job)} has no checkpoint yet`,
  );
}

/** Request of the job, with the checkpoint as its initial adapter. The fields of the method come from the checkpoint. */
async function branchBody(api: Api, job: JobObject, checkpoint: CheckpointObject): Promise<Body> {
  const model = checkpoint.fine_tuned_model_checkpoint;
  const [{ graft_schema: schema }, { graft }] = await Promise.all([
    api.get<Catalog>('/catalog'),
    api.get<ModelObject>(`/models/${encodeURIComponent(model)}`),
  ]);
  const body = createBody(job, Object.keys(schema.properties ?? {}));
  return {
    ...body,
    model: graft?.base ?? job.model,
    peft: { peft_type: job.peft?.['peft_type'] },
    graft: { ...(body['graft'] as Body), init_adapter: model },
  };
}
