import type { Catalog, CheckpointObject, JobObject, ModelObject } from '@graft/contracts';
import { createBody } from '@graft/contracts/compared-jobs';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { findCheckpoint, splitCheckpoint, type JobCheckpoint } from '../find/find-checkpoint.js';
import { withIds } from '../requests/names-in-body.js';
import { overBody, type JobFlags } from '../requests/job-body.js';
import type { Body } from '../requests/read-body.js';
import { send, withSending, type SubmitOptions } from './submit.js';
import { GRAFT } from '../called.js';

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
    return send(call, await withIds(call.api(), body, options), options);
  });
}

async function branchPoint(api: Api, from: string): Promise<JobCheckpoint> {
  const point = splitCheckpoint(from);
  if (point === null)
    throw new CliError(
      `${from}: expected JOB@STEP, e.g. ftjob-…@40, JOB@best or JOB@last; ${GRAFT} checkpoints JOB lists the steps`,
      EXIT.usage,
    );
  return findCheckpoint(api, point.job, point.at);
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
