// Runs a cluster under load and injects faults chosen by a seed. Then heals it, waits for every job, and
// checks what is left.
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { copyFileSync, writeFileSync } from 'node:fs';
import { check, type Evidence, type Violation } from './checker.js';
import { Clients } from './clients.js';
import { Cluster, type Size } from './cluster.js';
import { makeControls, makeTraining } from './controls.js';
import { eventNumbers, evidence, installWitness, jobRows, unsent } from './evidence.js';
import { FAULTS, type Fault, type Kill } from './faults.js';
import { History } from './history.js';
import type { Place } from './kinds/kind.js';
import { Load, type Pace } from './load.js';
import { Random } from './random.js';

export interface Plan extends Size {
  readonly seed: number;
  /** Minimum number of faults to inject. */
  readonly faults: number;
  /** Minimum duration of the faults, in milliseconds. */
  readonly faultMs: number;
  /** Pause between two faults in milliseconds: minimum and maximum. */
  readonly pauseMs: readonly [number, number];
  /** Names of faults to inject; by default, all that this machine can inject. */
  readonly only?: readonly string[];
  readonly steps: number;
  /** Pace of the load other than training jobs and chats. */
  readonly load: Pace;
  /** Time for everything to end after the faults are healed, in milliseconds. */
  readonly settleMs: number;
}

export interface Report {
  readonly seed: number;
  readonly minutes: number;
  readonly load: readonly number[];
  readonly faults: Readonly<Record<string, number>>;
  readonly impossible: readonly string[];
  readonly calls: Readonly<Record<string, number>>;
  readonly jobs: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
  readonly others: Readonly<Record<string, number>>;
  readonly attempts: Readonly<Record<string, number>>;
  readonly steps: number;
  readonly replayedSteps: number;
  /** Milliseconds from the death of a worker to the next attempt of a job that ran on it. */
  readonly takeover: {
    readonly count: number;
    readonly p50: number;
    readonly p95: number;
    readonly max: number;
  };
  readonly watchers: number;
  readonly eventsSeen: number;
  readonly blobs: number;
  readonly settledMs: number;
  readonly unexpectedEnds: Readonly<Record<string, number>>;
  readonly violations: readonly Violation[];
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** @param keep folder for the history and the report; if omitted, neither is stored */
export async function runBattery(plan: Plan, keep?: string): Promise<Report> {
  const random = new Random(plan.seed);
  const began = performance.now();
  const load = new Load();
  const cluster = await Cluster.start(plan, await load.configure());
  try {
    const history = new History(keep ? join(keep, 'history.ndjson') : null);
    await installWitness(cluster);
    const training = await makeTraining(cluster, random.fork());
    const place: Place = { cluster, random: random.fork(), training, adapters: [] };
    await load.listen(place);
    const { controls, adapters } = await makeControls(place, plan.steps);
    await load.begin({ ...place, adapters });
    const clients = new Clients(cluster, history, random.fork(), controls);
    clients.start();
    load.start({ ...place, adapters }, plan.load);
    const machine = [loadavg()[0] as number];
    const kills: Kill[] = [];
    const faults = await injectFaults(cluster, random.fork(), plan, kills, (name) =>
      keep ? console.log(`${new Date().toISOString().slice(11, 19)} ${name}`) : undefined,
    );
    machine.push(loadavg()[0] as number);
    await Promise.all([clients.stop(), load.stop()]);
    const healed = performance.now();
    const left = await settle(clients, load, place, plan.settleMs);
    const settledMs = performance.now() - healed;
    const numbers = await eventNumbers(cluster);
    const watched = await clients.watched((id) => numbers.get(id)?.length ?? 0);
    const waiting = await unsent(cluster);
    const others = await load.violations(place);
    await cluster.quiesce();
    const found = await evidence(cluster, history, watched, waiting);
    const report: Report = {
      seed: plan.seed,
      minutes: Math.round((performance.now() - began) / 6000) / 10,
      load: machine,
      faults,
      impossible: FAULTS.filter(({ possible }) => possible?.(cluster) === false).map(
        ({ name }) => name,
      ),
      unexpectedEnds: Object.fromEntries(
        cluster.programs.map(({ name, unexpected }) => [name, unexpected]),
      ),
      settledMs: Math.round(settledMs),
      ...figures(found, kills),
      others: load.counts(),
      violations: [
        ...left.map((what): Violation => ({ invariant: 'I2', subject: what, what: 'did not end' })),
        ...check(found),
        ...others,
      ],
    };
    if (keep) writeFileSync(join(keep, 'report.json'), JSON.stringify(report, null, 2));
    return report;
  } finally {
    if (keep)
      for (const { name } of cluster.programs)
        copyFileSync(join(cluster.dir, `${name}.log`), join(keep, `${name}.log`));
    await cluster.remove();
    await load.close();
  }
}

async function injectFaults(
  cluster: Cluster,
  random: Random,
  plan: Plan,
  kills: Kill[],
  say: (name: string) => void,
): Promise<Record<string, number>> {
  const possible = FAULTS.filter(
    ({ name, possible: can }) => (plan.only?.includes(name) ?? true) && (can?.(cluster) ?? true),
  );
  const counts: Record<string, number> = {};
  // Inject each fault once, in an order that depends on the seed; then choose at random.
  const order = possible.map((fault) => ({ fault, at: random.next() })).sort((a, b) => a.at - b.at);
  const next = (n: number): Fault => order[n]?.fault ?? random.of(possible);
  const end = performance.now() + plan.faultMs;
  const record = { kill: (kill: Kill) => void kills.push(kill) };
  for (let n = 0; n < plan.faults || performance.now() < end;) {
    await wait(random.between(...plan.pauseMs));
    const together = random.next() < 0.3 ? 2 : 1;
    const chosen = Array.from({ length: together }, () => next(n++));
    for (const { name } of chosen) {
      say(name);
      counts[name] = (counts[name] ?? 0) + 1;
    }
    await Promise.all(chosen.map(({ inject }) => inject(cluster, random.fork(), record)));
  }
  return counts;
}

/** Resumes paused jobs until everything has ended. @returns what has not ended after `ms` */
async function settle(
  clients: Clients,
  load: Load,
  place: Place,
  ms: number,
): Promise<readonly string[]> {
  const end = performance.now() + ms;
  for (;;) {
    const jobs = (await jobRows(place.cluster).catch(() => null))?.filter(
      ({ state }) => !['succeeded', 'failed', 'cancelled'].includes(state),
    );
    const others = await load.open(place).catch(() => null);
    if (jobs?.length === 0 && others?.length === 0) return [];
    if (performance.now() > end)
      return [...(jobs ?? []).map(({ id, state }) => `${id} (${state})`), ...(others ?? [])];
    for (const { id } of (jobs ?? []).filter(({ state }) => state === 'paused'))
      await clients.call('POST', `/fine_tuning/jobs/${id}/resume`).catch(() => undefined);
    await wait(500);
  }
}

function figures(found: Evidence, kills: readonly Kill[]) {
  const { history, jobs, attempts, metrics, watched, files } = found;
  const count = (names: readonly string[]): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
    return counts;
  };
  const took = kills
    .flatMap(({ atMs, jobs: had }) =>
      had.flatMap(({ id, attempt }) => {
        const next = attempts.find(
          ({ job_id, number, assignedMs }) =>
            job_id === id && number > attempt && assignedMs > atMs,
        );
        const own = attempts.find(({ job_id, number }) => job_id === id && number === attempt);
        // Exclude attempts that the client paused or cancelled: those jobs wait for their owner, not for a
        // worker.
        return next && own?.outcome === 'lost_worker' ? [next.assignedMs - atMs] : [];
      }),
    )
    .sort((a, b) => a - b);
  const quantile = (q: number): number =>
    Math.round(took[Math.min(took.length - 1, Math.floor(took.length * q))] ?? 0);
  const steps = new Set(metrics.map(({ job_id, step }) => `${job_id} ${step}`)).size;
  return {
    calls: count(
      history.filter(({ kind }) => kind !== 'invoke').map(({ what, kind }) => `${what} ${kind}`),
    ),
    jobs: count(jobs.map(({ state }) => state)),
    failures: jobs.flatMap(({ id, state, error }) =>
      state === 'failed' ? [`${id}: ${JSON.stringify(error)}`] : [],
    ),
    attempts: count(attempts.map(({ outcome }) => outcome ?? 'open')),
    steps,
    replayedSteps: metrics.length - steps,
    takeover: {
      count: took.length,
      p50: quantile(0.5),
      p95: quantile(0.95),
      max: Math.round(took.at(-1) ?? 0),
    },
    watchers: watched.length,
    eventsSeen: watched.reduce((sum, { seen }) => sum + seen.length, 0),
    blobs: files.size,
  };
}
