import type { Catalog, FileObject, JobObject, MetricsObject, SweepObject } from '@graft/contracts';
import { comparedOptions, MAX_COMPARED } from '@graft/contracts/compared-jobs';
import { rankedTrials } from '@graft/contracts/sweep-text';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { comparison, type ComparedJob } from '../output/comparison.js';
import { findJob, jobPath } from '../find/find-job.js';
import { findSweepIdIfAny, sweepPath } from '../find/find-sweep.js';

export function addCompare(program: Command): void {
  program
    .command('compare')
    .description('Compare jobs: results, cost and settings that differ')
    .argument('<job...>', `two to ${MAX_COMPARED} jobs (a trial is SWEEP/NUMBER), or one sweep`)
    .option('--all', 'show identical settings, too')
    .action(async (names: string[], { all }: { all?: boolean }, command: Command) => {
      const { out, api } = callOf(command);
      const [first = ''] = names;
      const ids = names.length === 1 ? await trialsOf(api(), first) : names;
      if (ids.length < 2 || ids.length > MAX_COMPARED)
        throw new CliError(`expected 2 to ${MAX_COMPARED} jobs, got ${ids.length}`, EXIT.usage);
      const jobs = await Promise.all(ids.map((name) => compared(api(), name)));
      const { graft_schema: schema } = await api().get<Catalog>('/catalog');
      const optionNames = Object.keys((schema['properties'] ?? {}) as object);
      const options = comparedOptions(
        jobs.map(({ job }) => job),
        optionNames,
      ).filter(({ differs }) => differs || all === true);
      if (out.json) out.value({ jobs, options });
      else out.line(comparison(jobs, options, out.width));
    });
}

/** Jobs of the best trials of a sweep. The name is its own job if there is no such sweep. */
async function trialsOf(api: Api, name: string): Promise<readonly string[]> {
  const id = await findSweepIdIfAny(api, name);
  if (id === null) return [name];
  const { trials = [], search } = await api.get<SweepObject>(sweepPath(id));
  return rankedTrials(trials, search.metric)
    .slice(0, MAX_COMPARED)
    .map(({ job }) => job);
}

async function compared(api: Api, name: string): Promise<ComparedJob> {
  const job = await findJob(api, name);
  const [metrics, size] = await Promise.all([
    api.get<MetricsObject>(`${jobPath(job.id)}/metrics`),
    sizeOf(api, job),
  ]);
  const { peak_rss_bytes } = metrics;
  return { job, peak_rss_bytes, result_bytes: size };
}

/** Total size of the job's result files in bytes. Null if there are none, or if the key cannot read them. */
async function sizeOf(api: Api, job: JobObject): Promise<number | null> {
  const files = await Promise.all(
    job.result_files.map((id) => api.get<FileObject>(`/files/${id}`).catch(() => null)),
  );
  const known = files.filter((file) => file !== null);
  return known.length === 0 ? null : known.reduce((sum, { bytes }) => sum + bytes, 0);
}
