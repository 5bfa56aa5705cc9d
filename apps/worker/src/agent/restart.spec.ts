import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { isAlive, useScene } from '../../test/scene.js';

const scene = useScene();
const keyFile = () => join(scene.home, 'worker-key');

describe('a restarted worker', () => {
  it('joins with its stored key, which only its user can read', async () => {
    scene.plane.workerKey = 'wk-first';
    const first = await scene.startAgent();
    await until('the key', () => existsSync(keyFile()));
    expect(scene.plane.hellos[0]?.workerKey).toBeUndefined();
    expect(statSync(keyFile()).mode & 0o777).toBe(0o600);
    await first.close();
    scene.plane.workerKey = undefined;
    await scene.startAgent();
    await until('another hello', () => scene.plane.hellos[1]);
    expect(scene.plane.hellos[1]?.workerKey).toBe('wk-first');
    expect(scene.plane.hellos[1]?.instanceId).not.toBe(scene.plane.hellos[0]?.instanceId);
    expect(readFileSync(keyFile(), 'utf8')).toBe('wk-first\n');
  });

  it('holds the lease of an ended run until the end is acknowledged', async () => {
    scene.plane.acknowledges = false;
    const first = await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 3 } });
    await until('the end', () => scene.plane.fact('finished'));
    await first.close();
    await scene.startAgent();
    const lease = { jobId: 'job-1', attempt: 1, step: 0 };
    await until('another hello', () => scene.plane.hellos[1]);
    expect(scene.plane.hellos[1]?.leases).toEqual([lease]);
    scene.plane.heartbeats.length = 0;
    await until('a heartbeat', () => scene.plane.heartbeats[0]);
    expect(scene.plane.heartbeats[0]?.leases).toEqual([lease]);
    scene.plane.acknowledges = true;
    scene.plane.hangUp();
    await until('no lease', () => scene.plane.heartbeats.at(-1)?.leases.length === 0);
    expect(scene.plane.facts().map(({ sequence }) => sequence)).toEqual(
      scene.plane.facts().map((_, index) => index + 1),
    );
    expect(scene.plane.fact('failed')).toBeUndefined();
  });

  it('reports an interrupted run as lost, after its spooled events', async () => {
    scene.plane.acknowledges = false;
    const first = await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    await first.close();
    scene.plane.acknowledges = true;
    await scene.startAgent();
    const failed = await until('its end', () => scene.plane.fact('failed'));
    expect(failed).toMatchObject({ code: 'lost_worker', retryable: true });
    const numbers = scene.plane.facts().map(({ sequence }) => sequence);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    expect(scene.plane.facts().at(-1)?.kind).toBe('failed');
    await until('no lease', () => scene.plane.heartbeats.at(-1)?.leases.length === 0);
  });
});

it('exits when another worker replaces it, and then joins as a new worker', async () => {
  scene.plane.workerKey = 'wk-shared';
  let isReplaced = false;
  await scene.startAgent({}, { onReplaced: () => (isReplaced = true) });
  await scene.pulled();
  scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
  await until('steps', () => scene.plane.fact('step'));
  const [pid = 0] = scene.trainerPids();
  scene.plane.replace();
  await until('the end', () => isReplaced);
  expect(isAlive(pid)).toBe(false);
  expect(existsSync(keyFile())).toBe(false);
  expect(scene.lines.some((line) => line.includes('a different --home'))).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(scene.plane.hellos).toHaveLength(1);
});
