import { Option, type Command } from 'commander';
import { EXAMPLES, exampleNamed, exampleNames } from '@graft/examples';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { runExample } from '../example/run-example.js';
import type { Settings } from '../config/settings.js';
import type { Output } from '../output/terminal.js';
import { Installation } from '../up/installation.js';

interface Options {
  readonly example?: string;
  readonly exit?: boolean;
}

export function addUp(program: Command): void {
  program
    .command('up')
    .description('Start the API, the dashboard and one worker')
    .option('--port <number>', 'port of the API and dashboard (default: 8080, or a free port)')
    .option('--host <address>', 'address of the API and dashboard (default: 127.0.0.1)')
    .option('--grpc-host <address>', 'address that workers connect to (default: 127.0.0.1)')
    .option('--grpc-port <number>', 'port that workers connect to (default: 8081, or a free port)')
    .option('--grpc-tls-cert <file>', 'TLS certificate presented to workers')
    .option('--grpc-tls-key <file>', 'key of the TLS certificate')
    .option('--database-url <url>', 'URL of an external PostgreSQL (default: an embedded server)')
    .option('--queue-url <url>', 'URL of an external Redis (default: the queue is in PostgreSQL)')
    .option('--slots <number>', 'jobs that the worker runs concurrently (default: 2)')
    .option('--threads <number>', 'CPU threads of each trainer (default: all cores)')
    .addOption(
      new Option(
        '--example [name]',
        `train an example model and compare it with its base: ${EXAMPLES.map(({ name, summary }) => `${name} ${summary}`).join('; ')}`,
      )
        .choices(exampleNames)
        .preset(exampleNames[0]),
    )
    .option('--no-stay', 'exit when the example ends')
    .action(async (options: Options & { stay: boolean }, command: Command) => {
      const { settings, out } = callOf(command);
      await up(settings, out, { example: options.example, stay: options.stay });
    });
}

async function up(
  settings: Settings,
  out: Output,
  { example, stay }: { example: string | undefined; stay: boolean },
): Promise<void> {
  const stop = new AbortController();
  const onSignal = forcefulOnSecond(stop, out);
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal);
  out.note(`Starting Graft in ${settings.home}`);
  const installation = await Installation.start(settings, out, stop.signal);
  try {
    if (out.json) out.value({ url: installation.api.credentials.url, home: settings.home });
    out.note(`Graft is up. Dashboard: ${installation.page()}`);
    out.note(await installation.joining());
    if (example !== undefined)
      await Promise.race([
        runExample(exampleNamed(example), installation, settings, out, stop.signal),
        installation.broken,
      ]);
    if (stay && !stop.signal.aborted) {
      out.note('Press Ctrl-C to stop.');
      await Promise.race([aborted(stop.signal), installation.broken]);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    out.note('Stopping the worker (after checkpointing its jobs), then the API …');
    await installation.stop();
    out.note('Stopped.');
  }
  if (stop.signal.aborted && example !== undefined && !stay)
    throw new CliError('interrupted', EXIT.interrupted);
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

// One Ctrl-C may arrive twice, from the terminal and from npm. Only a second one after 2 s is a new request.
function forcefulOnSecond(stop: AbortController, out: Output): () => void {
  let first = 0;
  return () => {
    if (first === 0) {
      first = Date.now();
      stop.abort();
    } else if (Date.now() - first > 2000) {
      out.note('Still stopping: the worker has up to a minute to checkpoint its jobs');
    }
  };
}
