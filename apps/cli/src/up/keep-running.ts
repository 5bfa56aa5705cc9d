import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from '../cli-error.js';

/** As much of a ServerProcess as is needed to start it again. */
export interface Program {
  readonly title: string;
  readonly log: string;
  /** Settles when it has ended, with words about how. */
  readonly ended: Promise<string>;
  reason(): string;
}

export interface Keeping {
  /** Starts it again. */
  start(): Program;
  say(text: string): void;
  /** Aborted when it may end. */
  readonly signal: AbortSignal;
  readonly now?: () => number;
  readonly wait?: (ms: number) => Promise<unknown>;
}

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
/** One that has lived for so long has started well: what ends it is something new. */
const LIVED_MS = 60_000;
const MOST_QUICK_ENDS = 8;

/**
 * Starts a program again whenever it ends, each time later while it ends quickly.
 * @throws CliError when it has ended quickly too often in a row
 */
export async function keepRunning(first: Program, keeping: Keeping): Promise<void> {
  const { start, say, signal, now = Date.now } = keeping;
  const wait = keeping.wait ?? ((ms: number) => sleep(ms, undefined, { signal }).catch(() => null));
  let program = first;
  let quickEnds = 0;
  for (;;) {
    const since = now();
    const how = await program.ended;
    if (signal.aborted) return;
    quickEnds = now() - since < LIVED_MS ? quickEnds + 1 : 1;
    const { title, log } = program;
    if (quickEnds === MOST_QUICK_ENDS) {
      throw new CliError(
        `${title} ${how}, for the ${quickEnds}th time in a row; last lines of ${log}:\n${program.reason()}`,
      );
    }
    const pause = Math.min(FIRST_WAIT_MS * 2 ** (quickEnds - 1), LONGEST_WAIT_MS);
    say(`${title} ${how}; restarting in ${pause / 1000} s (${log})\n${program.reason()}`);
    await wait(pause);
    if (signal.aborted) return;
    program = start();
  }
}
