import type { CheckpointObject, JobObject } from '@graft/contracts';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { saveModel, type Target } from '../client/archive.js';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { checkpointAt, checkpointsOf } from '../find/find-checkpoint.js';
import { callName, findJob } from '../find/find-job.js';
import { useCommand } from '../find/model-use.js';
import { positiveInteger } from '../command-line/parse-number.js';

interface Options extends Target {
  readonly step?: number;
}

export function addDownload(program: Command): void {
  program
    .command('download')
    .description('Download an adapter as a Hugging Face PEFT folder')
    .argument('<job-or-model>', 'job, model (ft:…) or checkpoint (ft:…:ckpt-step-N)')
    .option('--step <number>', 'download the checkpoint at this step', positiveInteger)
    .option('-o, --out <path>', 'folder or archive to write (default: named after the model)')
    .option('--zip', 'save the archive without unpacking it')
    .option('--force', 'overwrite existing files')
    .action(async (name: string, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const { model, note } = await modelOf(api(), name, options.step);
      const path = await saveModel(api(), model, options);
      if (out.json) return out.value({ model, path });
      if (note !== null) out.note(note);
      out.line(path);
      const use = await useCommand(api(), model);
      if (use !== null) out.note(`Try it: ${use}`);
    });
}

interface Meant {
  readonly model: string;
  readonly note: string | null;
}

async function modelOf(api: Api, name: string, step: number | undefined): Promise<Meant> {
  if (name.startsWith('ft:'))
    return { model: step === undefined ? name : `${name}:ckpt-step-${step}`, note: null };
  const job = await findJob(api, name);
  if (step === undefined && job.fine_tuned_model !== null)
    return { model: job.fine_tuned_model, note: null };
  const checkpoints = await checkpointsOf(api, job.id);
  if (step === undefined) return newest(job, checkpoints);
  const { fine_tuned_model_checkpoint: model } = checkpointAt(job, checkpoints, step);
  return { model, note: null };
}

function newest(job: JobObject, checkpoints: readonly CheckpointObject[]): Meant {
  const checkpoint = checkpoints.find(({ graft }) => graft.usable);
  if (checkpoint === undefined)
    throw new CliError(`${callName(job)} is ${job.status} and has no checkpoint to download`);
  return {
    model: checkpoint.fine_tuned_model_checkpoint,
    note: `${callName(job)} is ${job.status}: downloading its latest checkpoint, step ${checkpoint.step_number}`,
  };
}
