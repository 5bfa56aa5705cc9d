import { mkdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { FileObject, JobObject, ModelObject } from '@graft/contracts';
import type { Command } from 'commander';
import type { Api } from '../api.js';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line.js';
import { saveFile } from '../save-file.js';

export function addDownload(program: Command): void {
  program
    .command('download')
    .description(
      "save a finished job's adapter (and its metrics) as a folder that Hugging Face PEFT reads",
    )
    .argument('<job-or-model>')
    .option('-o, --out <folder>', 'default: named after the job')
    .action(async (id: string, options: { out?: string }, command: Command) => {
      const { out, api } = callOf(command);
      const job = await jobOf(api(), id);
      const folder = resolve(options.out ?? job.id);
      const files = await downloadResults(api(), job, folder);
      if (out.json) return out.value({ folder, files });
      out.line(`${folder}: ${files.join(', ')}`);
    });
}

async function jobOf(api: Api, id: string): Promise<JobObject> {
  if (!id.startsWith('ft:'))
    return api.get<JobObject>(`/fine_tuning/jobs/${encodeURIComponent(id)}`);
  const model = await api.get<ModelObject>(`/models/${id}`);
  if (model.graft?.job == null)
    throw new CliError(`${id} was not made by a job, so there is nothing to download`);
  return api.get<JobObject>(`/fine_tuning/jobs/${encodeURIComponent(model.graft.job)}`);
}

/** Saves a job's result files into a folder, under their own names; the names. */
export async function downloadResults(api: Api, job: JobObject, folder: string): Promise<string[]> {
  if (job.result_files.length === 0) {
    throw new CliError(
      `${job.id} has no results${job.status === 'succeeded' ? '' : `: it is ${job.status}`}`,
    );
  }
  await mkdir(folder, { recursive: true });
  const names: string[] = [];
  for (const id of job.result_files) {
    const file = await api.get<FileObject>(`/files/${encodeURIComponent(id)}`);
    const name = basename(file.filename);
    await saveFile(api, file, join(folder, name));
    names.push(name);
  }
  return names;
}
