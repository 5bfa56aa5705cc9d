import { DomainError } from '@graft/contracts';
import { pino } from 'pino';
import { Agent, type AgentOptions } from './agent.js';
import { readSettings, USAGE } from './settings.js';

/**
 * Runs a worker process and handles its signals. Exit codes: 0 drained, 1 failure or drain timeout, 2 invalid flags, 130
 * stopped by a second signal.
 */
export async function runWorker(
  args: readonly string[],
  options: Omit<AgentOptions, 'settings' | 'log'> = {},
): Promise<void> {
  // Restrict fetched and written files to the worker's own user.
  process.umask(0o077);
  try {
    const settings = readSettings(args, process.env);
    if (settings === null) {
      process.stdout.write(USAGE);
      return;
    }
    const log = pino({ name: 'graft-worker', level: settings.logLevel });
    let stopping = false;
    const leave = (reason: string): void => {
      if (stopping) return;
      stopping = true;
      void agent.drain(reason).then((clean) => process.exit(clean ? 0 : 1));
    };
    const onReplaced = () => process.exit(1);
    const agent = new Agent({ ...options, settings, log, onDrain: leave, onReplaced });
    const stop = (signal: NodeJS.Signals) => {
      if (stopping) {
        log.warn({ signal }, 'second signal: stopping immediately');
        agent.killTrainers();
        process.exit(130);
      }
      leave(signal);
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
    await agent.start();
  } catch (error) {
    process.stderr.write(
      `graft-worker: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    process.exit(error instanceof DomainError ? 2 : 1);
  }
}
