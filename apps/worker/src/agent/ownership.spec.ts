import { Command_Action } from '@graft/contracts/grpc';
import { describe, expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { isAlive, useScene } from '../../test/scene.js';

const scene = useScene();

describe('ownership', () => {
  it.each(['ack', 'heartbeat', 'command'] as const)(
    'kills a run within 1 s of a lost lease by %s',
    async (by) => {
      await scene.startAgent();
      await scene.pulled();
      scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
      await until('steps', () => scene.plane.fact('step'));
      const [pid = 0] = scene.trainerPids();
      const lease = { jobId: 'job-1', attempt: 1, step: 0 };
      const from = performance.now();
      if (by === 'ack') scene.plane.stale.push(lease);
      else if (by === 'heartbeat') scene.plane.lost.push(lease);
      else
        scene.plane.send({
          $case: 'command',
          value: { ...lease, action: Command_Action.ACTION_KILL },
        });
      await until('the trainer to be gone', () => !isAlive(pid), 1000);
      expect(performance.now() - from).toBeLessThan(1000);
      await until('no lease', () => scene.plane.heartbeats.at(-1)?.leases.length === 0);
      expect(scene.plane.fact('stopped') ?? scene.plane.fact('failed')).toBeUndefined();
    },
  );

  it('stops a lost run while another run in the process continues', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ jobId: 'zombie', plan: { steps: 100_000, stepMs: 5 } });
    scene.plane.assign({ jobId: 'neighbour', plan: { steps: 200, stepMs: 5 } });
    await until(
      'both',
      () => scene.plane.fact('step', 'zombie') && scene.plane.fact('step', 'neighbour'),
    );
    scene.plane.lost.push({ jobId: 'zombie', attempt: 1, step: 0 });
    await until(
      'the lease to end',
      () => !scene.plane.heartbeats.at(-1)?.leases.some((lease) => lease.jobId === 'zombie'),
    );
    const received = scene.plane.facts('zombie').length;
    await until('the other run', () => scene.plane.fact('finished', 'neighbour'));
    expect(scene.plane.facts('zombie').length).toBeLessThanOrEqual(received + 30);
    expect(scene.trainerPids()).toHaveLength(1);
  });

  it('stops a lost run in a long step without affecting the other run', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ jobId: 'zombie', plan: { steps: 100_000, blockMs: 3500 } });
    scene.plane.assign({ jobId: 'neighbour', plan: { steps: 100, stepMs: 1 } });
    await until(
      'both',
      () => scene.plane.fact('step', 'zombie') && scene.plane.fact('step', 'neighbour'),
      10_000,
    );
    scene.plane.send({
      $case: 'command',
      value: { jobId: 'zombie', attempt: 1, action: Command_Action.ACTION_KILL },
    });
    await until(
      'the other run',
      () => scene.plane.fact('finished', 'neighbour') ?? scene.plane.fact('failed', 'neighbour'),
      20_000,
    );
    expect(scene.plane.fact('failed', 'neighbour')).toBeUndefined();
    expect(scene.trainerPids()).toHaveLength(1);
  });

  it('kills a trainer that does not stop a lost run as hung; the other run may be retried', async () => {
    await scene.startAgent({}, { hangMs: 2000 });
    await scene.pulled();
    scene.plane.assign({ jobId: 'zombie', plan: { steps: 100_000, stepMs: 5, disobey: true } });
    scene.plane.assign({ jobId: 'neighbour', plan: { steps: 100_000, stepMs: 5 } });
    await until(
      'both',
      () => scene.plane.fact('step', 'zombie') && scene.plane.fact('step', 'neighbour'),
    );
    const from = performance.now();
    scene.plane.lost.push({ jobId: 'zombie', attempt: 1, step: 0 });
    const failed = await until('the other run', () => scene.plane.fact('failed', 'neighbour'));
    expect(failed).toMatchObject({ code: 'crash', retryable: true });
    expect(performance.now() - from).toBeGreaterThan(1900);
    expect(scene.plane.fact('failed', 'zombie')).toBeUndefined();
    const ended = scene.lines
      .map((line) => JSON.parse(line) as { msg: string; class?: string; signal?: string })
      .find(({ msg }) => msg === 'trainer exited');
    expect(ended).toMatchObject({ class: 'cancelled', signal: 'SIGKILL' });
  });

  it('reports the exit of a trainer, with the end of its stderr', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 50, crashAt: 7 } });
    const failed = await until('failed', () => scene.plane.fact('failed'));
    expect(failed).toMatchObject({ code: 'crash', retryable: true });
    expect(failed.stderr_tail).toContain('boom');
    scene.plane.assign({ attempt: 2, plan: { steps: 5 } });
    await until('the next attempt', () => scene.plane.fact('finished', 'job-1', 2));
  });

  it('kills a trainer that does not respond and reports it as hung', async () => {
    await scene.startAgent({}, { hangMs: 1000 });
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    const [pid = 0] = scene.trainerPids();
    process.kill(pid, 'SIGSTOP');
    const failed = await until('failed', () => scene.plane.fact('failed'), 15_000);
    expect(failed).toMatchObject({ code: 'hang', retryable: true });
    expect(isAlive(pid)).toBe(false);
  });

  it('cancels without a checkpoint and pauses with one', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ jobId: 'c', plan: { steps: 100_000, stepMs: 5 } });
    scene.plane.assign({ jobId: 'p', plan: { steps: 100_000, stepMs: 5 } });
    await until('both', () => scene.plane.fact('step', 'c') && scene.plane.fact('step', 'p'));
    scene.plane.send({
      $case: 'command',
      value: { jobId: 'c', attempt: 1, action: Command_Action.ACTION_CANCEL },
    });
    scene.plane.send({
      $case: 'command',
      value: { jobId: 'p', attempt: 1, action: Command_Action.ACTION_PAUSE },
    });
    expect(await until('cancelled', () => scene.plane.fact('stopped', 'c'))).toMatchObject({
      reason: 'cancel',
    });
    const paused = await until('paused', () => scene.plane.fact('stopped', 'p'));
    expect(paused.reason).toBe('pause');
    expect(scene.plane.fact('saved', 'p')?.step).toBe(paused.step);
    expect(scene.plane.fact('saved', 'c')).toBeUndefined();
    await until('free slots', () => scene.plane.pulls.at(-1)?.freeSlots === 2);
  });

  it('keeps the base in memory if the lease of a canceled run is lost before it stops', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 50 } });
    await until('steps', () => scene.plane.fact('step'));
    const [pid = 0] = scene.trainerPids();
    const lease = { jobId: 'job-1', attempt: 1 };
    scene.plane.send({
      $case: 'command',
      value: { ...lease, action: Command_Action.ACTION_CANCEL },
    });
    scene.plane.send({ $case: 'command', value: { ...lease, action: Command_Action.ACTION_KILL } });
    await until('no lease', () => scene.plane.heartbeats.at(-1)?.leases.length === 0);
    scene.plane.assign({ attempt: 2, plan: { steps: 3 } });
    await until('the next attempt', () => scene.plane.fact('finished', 'job-1', 2));
    expect(isAlive(pid)).toBe(true);
  });

  it('returns jobs that exceed its slots', async () => {
    await scene.startAgent({ slots: 1 });
    await scene.pulled();
    scene.plane.assign({ jobId: 'a', plan: { steps: 1000, stepMs: 5 } });
    scene.plane.assign({ jobId: 'b', plan: { steps: 1 }, checkpointStep: 12 });
    expect(await until('b back', () => scene.plane.fact('stopped', 'b'))).toEqual({
      reason: 'drain',
      step: 12,
    });
  });
});
