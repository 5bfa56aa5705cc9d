// Runs two API processes, training workers and clients, injects faults into them and between them, and then
// checks the state that is left.
// The default tier runs a short form with a fixed seed. The tier `all` runs five minutes with every fault
// that this machine can inject. For another length or seed: node test/chaos/long.mjs --seed N --minutes M
import { mkdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { isAllTier } from '../tier.js';
import { runBattery, type Plan } from './battery/battery.js';

const minutes = Number(process.env['GRAFT_BATTERY_MINUTES'] ?? (isAllTier ? 5 : 0));
const keep = process.env['GRAFT_BATTERY_KEEP'];

const SHORT: Plan = {
  seed: 8,
  workers: 2,
  leaseMs: 4000,
  faults: 10,
  faultMs: 0,
  pauseMs: [300, 1000],
  steps: 64,
  load: { least: 1, most: 1, pauseMs: [0, 3000] },
  settleMs: 180_000,
  only: [
    'kill -9 of a trainer',
    'kill -9 of a worker',
    'kill -9 of an API process',
    'immediate restart of PostgreSQL',
    'FLUSHALL in Redis',
    'reset between worker and API',
    'reset between API and database',
    'listening connections ended',
  ],
};
const LONG: Plan = {
  seed: Number(process.env['GRAFT_BATTERY_SEED'] ?? 1),
  workers: 3,
  leaseMs: 15_000,
  faults: 0,
  faultMs: minutes * 60_000,
  pauseMs: [500, 4000],
  steps: 400,
  load: { least: 1, most: Infinity, pauseMs: [1000, 8000] },
  settleMs: 240_000,
};

it(
  'loses and duplicates nothing, accepts nothing stale, and produces the adapters of runs without faults',
  async () => {
    if (keep) mkdirSync(keep, { recursive: true });
    const report = await runBattery(minutes > 0 ? LONG : SHORT, keep);
    console.log(JSON.stringify(report, null, 2));
    expect(report.violations).toEqual([]);
    expect(report.failures).toEqual([]);
    expect(report.jobs['succeeded']).toBeGreaterThan(3);
    expect(Object.values(report.faults).reduce((sum, n) => sum + n, 0)).toBeGreaterThan(3);
  },
  900_000 + minutes * 60_000,
);
