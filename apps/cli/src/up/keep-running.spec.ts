import { expect, it } from 'vitest';
import { keepRunning, type Program } from './keep-running.js';

/** Programs that exit on request, and a clock that only waiting advances. */
function stage() {
  const stop = new AbortController();
  const messages: string[] = [];
  const waits: number[] = [];
  let now = 0;
  let starts = 0;
  let end: (how: string) => void = () => undefined;
  const program = (): Program => {
    starts++;
    const ended = new Promise<string>((resolve) => (end = resolve));
    return {
      title: 'the API',
      log: '/home/logs/api.log',
      ended,
      reason: () => '  03:04:05 error: x',
    };
  };
  const over = keepRunning(program(), {
    start: program,
    report: (text) => messages.push(text),
    signal: stop.signal,
    now: () => now,
    wait: (ms) => {
      waits.push(ms);
      now += ms;
      return Promise.resolve();
    },
  });
  const settled = over.then(
    () => 'stopped',
    (error: Error) => error.message,
  );
  return {
    messages,
    waits,
    stop,
    settled,
    starts: () => starts,
    /** Kills the program after this time and waits for the reaction. */
    async dies(afterMs: number): Promise<void> {
      now += afterMs;
      end('was killed by SIGKILL');
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

it('restarts a program with increasing delays, and reports why it exited', async () => {
  const { dies, waits, messages, starts } = stage();
  for (let n = 0; n < 7; n++) await dies(100);
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  expect(starts()).toBe(8);
  expect(messages[0]).toBe(
    'the API was killed by SIGKILL; restarting in 1 s (/home/logs/api.log)\n  03:04:05 error: x',
  );
});

it('resets the delay after the program has run for a minute', async () => {
  const { dies, waits } = stage();
  await dies(100);
  await dies(100);
  await dies(60_000);
  expect(waits).toEqual([1000, 2000, 1000]);
});

it('gives up after eight quick exits in a row, with the reason', async () => {
  const { dies, settled, waits } = stage();
  for (let n = 0; n < 8; n++) await dies(100);
  expect(await settled).toBe(
    'the API was killed by SIGKILL, for the 8th time in a row; last lines of /home/logs/api.log:\n  03:04:05 error: x',
  );
  expect(waits).toHaveLength(7);
});

it('does not restart a program that was stopped on purpose', async () => {
  const { dies, settled, stop, starts } = stage();
  stop.abort();
  await dies(100);
  expect([await settled, starts()]).toEqual(['stopped', 1]);
});
