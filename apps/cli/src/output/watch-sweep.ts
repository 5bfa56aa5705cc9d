import { setTimeout as sleep } from 'node:timers/promises';
import type { JobObject, SweepObject } from '@graft/contracts';
import { GRAFT } from '../called.js';
import { CliError, EXIT } from '../cli-error.js';
import type { Api } from '../client/api.js';
import { sweepPath } from '../find/find-sweep.js';
import { raceTable } from './race-table.js';
import { sweepCard } from './sweep-card.js';
import type { Output } from './terminal.js';
import { untilInterrupted } from './until-interrupted.js';

const EVERY_MS = 1000;

export const isSweepOver = ({ status }: SweepObject): boolean =>
  status !== 'queued' && status !== 'running';

export const showSweep = (out: Output, sweep: SweepObject): void =>
  out.json ? out.value(sweep) : out.line(sweepCard(sweep, out.width, out.id));

/**
 * Follows a sweep until all trials end, and prints the outcome. Trials that wait for a worker may take long.
 * @throws CliError if it has no winner and did not succeed, or on Ctrl-C
 */
export async function watchSweep(api: Api, id: string, out: Output): Promise<void> {
  const sweep = await untilInterrupted((signal) => followSweep(api, id, { out, signal }));
  if (!isSweepOver(sweep))
    throw new CliError(
      `stopped watching; the sweep continues (${GRAFT} sweeps watch ${id}, ${GRAFT} sweeps cancel ${id})`,
      EXIT.interrupted,
    );
  showSweep(out, sweep);
  // A sweep with a winner is a success even if its last trials were cancelled.
  if (!sweep.winner && sweep.status !== 'succeeded')
    throw new CliError(`the sweep ended as ${sweep.status}`);
}

interface Follow {
  readonly out: Output;
  readonly signal: AbortSignal;
}

async function followSweep(api: Api, id: string, { out, signal }: Follow): Promise<SweepObject> {
  const curves = new Map<string, readonly number[]>();
  let sweep = await api.get<SweepObject>(sweepPath(id));
  try {
    for (let query = ''; !isSweepOver(sweep) && !signal.aborted; query = '&status=running') {
      if (out.live) await readCurves(api, id, query, curves);
      const now = sweep;
      out.draw((columns, rows) => raceTable(now, curves, columns, rows));
      await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted) sweep = await api.get<SweepObject>(sweepPath(id));
    }
  } finally {
    out.draw('');
  }
  return sweep;
}

/** Reads the losses of the sweep's jobs. Curves of ended trials are read once. */
async function readCurves(
  api: Api,
  id: string,
  query: string,
  curves: Map<string, readonly number[]>,
): Promise<void> {
  const search = `search=${encodeURIComponent(id)}&archived=any${query}`;
  for (const job of await api.all<JobObject>(`/fine_tuning/jobs?${search}`))
    curves.set(job.id, job.graft.sparkline);
}
