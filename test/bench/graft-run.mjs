// Graft's side of a training benchmark: runs `graft run` and reads its metrics.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../apps/worker/bundle/run/main.js', import.meta.url));

export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

export const sum = (rows, field) => rows.reduce((total, row) => total + row[field], 0);

/** Runs the command; its CPU time in seconds is printed last on stderr. */
function timed(args) {
  const script = 'TIMEFORMAT="%U %S"; time "$@"';
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...args], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`graft run exited with ${status}:\n${stderr}`);
  const [user, system] = stderr.trim().split('\n').at(-1).split(' ').map(Number);
  return { output: stdout + stderr, seconds: user + system };
}

/** The steps, the CPU time of the whole run in seconds, and its peak memory in GiB. */
function graftRun(job, { work, threads }) {
  const out = mkdtempSync(join(work, 'run-'));
  const file = join(out, 'job.json');
  writeFileSync(file, JSON.stringify(job));
  const { output, seconds } = timed([
    process.execPath,
    MAIN,
    file,
    '--out',
    out,
    '--threads',
    String(threads),
  ]);
  const rows = readFileSync(join(out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter((row) => row.loss !== undefined && row.seconds !== undefined);
  return { rows, seconds, peak: Number(/peak memory ([\d.]+) GiB/.exec(output)?.[1]) };
}

/**
 * Tokens a second of a job after `warmUp` steps: all over all their time, and of the median step. `cpu`: a second is one
 * of one thread's processor time, that of a run less that of another that ends with the warm-up; no median then.
 */
export function graftRate(job, { work, threads, cpu, warmUp }) {
  const { rows, seconds, peak } = graftRun(job, { work, threads: cpu ? 1 : threads });
  const measured = rows.slice(warmUp);
  const tokens = sum(measured, 'tokens');
  const found = { peak, losses: rows.map(({ loss }) => loss) };
  if (!cpu)
    return {
      ...found,
      overall: tokens / sum(measured, 'seconds'),
      middle: median(measured.map((row) => row.tokens / row.seconds)),
    };
  const warmUpJob = { ...job, graft: { ...job.graft, max_steps: warmUp } };
  return {
    ...found,
    overall: tokens / (seconds - graftRun(warmUpJob, { work, threads: 1 }).seconds),
  };
}
