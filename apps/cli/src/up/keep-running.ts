import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from '../cli-error.js';

/** Part of a ServerProcess that a restart needs. */
export interface Program {
  readonly title: string;
  readonly log: string;
  /** Resolves when the program has exited, with a description such as "exited with code 1". */
  readonly ended: Promise<string>;
  reason(): string;
}

export interface Keeping {
  /** Starts the program again after it has exited. */
  start(): Program;
  report(text: string): void;
  /** Aborted when the program may exit. */
  readonly signal: AbortSignal;
  readonly now?: () => number;
  readonly wait?: (ms: number) => Promise<unknown>;
}

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
/** Run time after which an exit is not a failed start. */
const STABLE_MS = 60_000;
const MAX_QUICK_EXITS = 8;

/**
 * Restarts a program whenever it exits, with exponential backoff while it exits quickly.
 * @throws CliError after too many quick exits in a row
 */
export async function keepRunning(first: Program, keeping: Keeping): Promise<void> {
  const { start, report, signal, now = Date.now } = keeping;
  const wait = keeping.wait ?? ((ms: number) => sleep(ms, undefined, { signal }).catch(() => null));
  let program = first;
  let quickExits = 0;
  for (;;) {
    const since = now();
    const how = await program.ended;
    if (signal.aborted) return;
    quickExits = now() - since < STABLE_MS ? quickExits + 1 : 1;
    const { title, log } = program;
    if (quickExits === MAX_QUICK_EXITS) {
      throw new CliError(
        `${title} ${how}, for the ${quickExits}th time in a row; last lines of ${log}:\n${program.reason()}`,
      );
    }
    const pause = Math.min(FIRST_WAIT_MS * 2 ** (quickExits - 1), LONGEST_WAIT_MS);
    report(`${title} ${how}; restarting in ${pause / 1000} s (${log})\n${program.reason()}`);
    await wait(pause);
    if (signal.aborted) return;
    program = start();
  }
}
