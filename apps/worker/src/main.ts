#!/usr/bin/env node
import { DomainError } from '@graft/contracts';
import { pino } from 'pino';
import { Agent } from './agent/agent.js';
import { readSettings, USAGE } from './agent/settings.js';

/** Exit codes: 0 drained, 1 something broke or the drain was cut short, 2 bad flags, 130 second signal. */
async function main(): Promise<void> {
  const settings = readSettings(process.argv.slice(2), process.env);
  if (settings === null) {
    process.stdout.write(USAGE);
    return;
  }
  const log = pino({
    name: 'graft-worker',
    level: settings.logLevel,
    redact: ['token', '*.token', 'authorization'],
  });
  const agent = new Agent({ settings, log });
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) {
      log.warn({ signal }, 'second signal: ending at once');
      agent.killTrainers();
      process.exit(130);
    }
    stopping = true;
    void agent.drain(signal).then((clean) => process.exit(clean ? 0 : 1));
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  await agent.start();
}

main().catch((error: unknown) => {
  process.stderr.write(`graft-worker: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof DomainError ? 2 : 1);
});
