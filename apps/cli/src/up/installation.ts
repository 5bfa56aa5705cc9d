import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OverviewObject, WorkerObject } from '@graft/contracts';
import { workerCommand } from '@graft/contracts/worker-command';
import { Api } from '../client/api.js';
import { CliError } from '../cli-error.js';
import { readCredentials } from '../config/credentials.js';
import { API_MAIN, DASHBOARD, WORKER_MAIN } from '../paths.js';
import type { Settings } from '../config/settings.js';
import type { Output } from '../output/terminal.js';
import { lockHome, type HomeLock } from './lock.js';
import { keepRunning } from './keep-running.js';
import { choosePort } from './port.js';
import { endPostgres } from './postgres.js';
import { ServerProcess } from './server-process.js';

const TITLES = { api: 'the API', worker: 'the worker' };
const API_START_MS = 60_000;
const PORT_ATTEMPTS = 3;
const WORKER_START_MS = 60_000;
/** Longer than the 60 s within which a worker drains. */
const WORKER_STOP_MS = 65_000;
/** Longer than the maximum shutdown time of the API. */
const API_STOP_MS = 30_000;

/** Line of JSON that the API prints when it is ready. */
interface Ready {
  readonly url: string;
  /** Gateway as host:port. */
  readonly grpc_url: string;
  /** Gateway as host:port, for a worker on this machine. */
  readonly local_grpc_url: string;
  readonly join_token_file: string;
  readonly warnings: readonly string[];
}

/** API and worker on this machine. Starts, restarts and stops them. */
export class Installation {
  private worker: ServerProcess | null = null;
  private server: ServerProcess | null = null;
  private ready: Ready | null = null;
  private stopping: Promise<void> | null = null;
  private readonly ending = new AbortController();
  /** Rejects if the API or the worker exits too often. */
  readonly broken: Promise<never>;
  private reportBroken: (error: Error) => void = () => undefined;

  private constructor(
    private readonly settings: Settings,
    private readonly out: Output,
    private readonly lock: HomeLock,
  ) {
    this.broken = new Promise<never>((_, reject) => (this.reportBroken = reject));
    this.broken.catch(() => undefined); // Callers that await it handle the error; otherwise it must not crash the process.
  }

  /** Starts the API and the worker. Stops both if one cannot start. */
  static async start(settings: Settings, out: Output, signal: AbortSignal): Promise<Installation> {
    const installation = new Installation(settings, out, await lockHome(settings.home));
    try {
      await installation.startApi(signal);
      await installation.startWorker(signal);
    } catch (error) {
      await installation.stop();
      throw error;
    }
    return installation;
  }

  get api(): Api {
    const credentials = readCredentials(this.settings.home);
    if (credentials === null)
      throw new CliError(`${join(this.settings.home, 'credentials.json')} is missing or invalid`);
    return new Api(credentials);
  }

  /** URL of the dashboard. */
  get address(): string {
    return this.api.credentials.url.replace(/\/v1$/, '/');
  }

  /** Text with the address for workers and a command that starts another worker. */
  async joining(): Promise<string> {
    const { gateway } = await this.api.get<OverviewObject>('/overview');
    const tokenFile = this.ready?.join_token_file ?? '';
    const beyond = gateway.listens_beyond_host;
    const command = beyond
      ? workerCommand(gateway, { tokenFile: 'join-token' })
      : workerCommand(gateway, { tokenFile, home: join(this.settings.home, 'worker-2') });
    const where = beyond
      ? `from any host. To add a worker, copy ${tokenFile} to its host and run:`
      : 'from this host only (--grpc-host allows others). To add a worker here:';
    return `Workers connect to ${gateway.url} ${where}\n  ${command}`;
  }

  /**
   * URL of a page of the dashboard. On a terminal, its fragment has the API key for signing in, which browsers do not send
   * to servers. Elsewhere, such as in a CI log, the URL has no key.
   */
  page(path = ''): string {
    const address = this.address + path;
    return this.out.personal
      ? `${address}#key=${encodeURIComponent(this.api.credentials.apiKey)}`
      : `${address} (the API key is in ${join(this.settings.home, 'credentials.json')})`;
  }

  /** Stops the worker, which checkpoints and returns its jobs, then the API. Safe to call twice. */
  stop(): Promise<void> {
    this.ending.abort();
    this.stopping ??= this.stopBoth();
    return this.stopping;
  }

  private async stopBoth(): Promise<void> {
    await this.worker?.stop(WORKER_STOP_MS);
    await this.server?.stop(API_STOP_MS);
    await endPostgres(this.settings.home);
    this.lock.release();
  }

  private async startApi(signal: AbortSignal): Promise<void> {
    const report = (text: string): void => this.out.note(text);
    const server = await this.startAtFreePorts(signal, report);
    for (const warning of this.ready?.warnings ?? []) report(`warning: ${warning}`);
    // The worker and other clients expect the same ports after a restart.
    const same = {
      GRAFT_PORT: portIn(this.ready?.url),
      GRAFT_GRPC_PORT: portIn(this.ready?.grpc_url),
      GRAFT_LOCAL_GRPC_PORT: portIn(this.ready?.local_grpc_url),
    };
    this.keep(server, () => this.launchApi(same));
  }

  /** Starts the API. Retries with other ports, because another program may take a port between the check and the start. */
  private async startAtFreePorts(
    signal: AbortSignal,
    report: (text: string) => void,
  ): Promise<ServerProcess> {
    for (let attemptsLeft = PORT_ATTEMPTS; ; attemptsLeft--) {
      const server = this.launchApi({
        GRAFT_PORT: String(await choosePort(this.settings, 'port', report)),
        GRAFT_GRPC_PORT: String(await choosePort(this.settings, 'grpc-port', report)),
      });
      try {
        await this.waitFor(server, API_START_MS, signal, () => this.isReady(server));
        return server;
      } catch (error) {
        if (attemptsLeft === 1 || server.running || !server.written().includes('EADDRINUSE'))
          throw error;
      }
    }
  }

  private launchApi(ports: NodeJS.ProcessEnv): ServerProcess {
    this.server = this.launch('api', API_MAIN, ['--home', this.settings.home], {
      ...this.environment(),
      ...ports,
    });
    return this.server;
  }

  // The API prints a line of JSON with its addresses when it is ready.
  private async isReady(server: ServerProcess): Promise<boolean> {
    this.ready ??= readyLine(server.written());
    return this.ready !== null;
  }

  private async startWorker(signal: AbortSignal): Promise<void> {
    const worker = this.launchWorker();
    const online = async (): Promise<boolean> => {
      const { data } = await this.api.get<{ data: readonly WorkerObject[] }>('/workers');
      return data.some((one) => one.state === 'online');
    };
    await this.waitFor(worker, WORKER_START_MS, signal, online);
    this.keep(worker, () => this.launchWorker());
  }

  private launchWorker(): ServerProcess {
    const { home } = this.settings;
    const args = [
      '--home',
      join(home, 'worker'),
      '--name',
      hostname().slice(0, 60),
      '--token-file',
      this.ready?.join_token_file ?? '',
    ];
    this.worker = this.launch('worker', WORKER_MAIN, args, {
      ...this.environment(),
      GRAFT_WORKER_URL: `grpc://${this.ready?.local_grpc_url}`,
      GRAFT_WORKER_CA_FILE: '', // Only remote workers need TLS.
    });
    return this.worker;
  }

  private keep(program: ServerProcess, start: () => ServerProcess): void {
    const report = (text: string): void => this.out.note(text);
    keepRunning(program, { start, report, signal: this.ending.signal }).catch(this.reportBroken);
  }

  private async waitFor(
    process: ServerProcess,
    limit: number,
    signal: AbortSignal,
    ready: () => Promise<boolean>,
  ): Promise<void> {
    for (const until = Date.now() + limit; Date.now() < until;) {
      if (signal.aborted) throw new CliError('interrupted during startup', 130);
      if (!process.running)
        throw new CliError(
          `${process.title} ${await process.ended}; last lines of ${process.log}:\n${process.reason()}`,
        );
      if (await ready()) return;
      await sleep(100);
    }
    throw new CliError(
      `${process.title} was not ready within ${limit / 1000} s; last lines of ${process.log}:\n${process.reason()}`,
    );
  }

  private launch(
    name: keyof typeof TITLES,
    script: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
  ): ServerProcess {
    const title = TITLES[name];
    if (!existsSync(script))
      throw new CliError(`${title} is not built (${script} is missing); run npm run build`);
    const log = join(this.settings.home, 'logs', `${name}.log`);
    const process = new ServerProcess(title, script, args, env, log);
    const running = [this.server, this.worker, process].filter(
      (one) => one !== null && one.running,
    );
    this.lock.record(
      running.flatMap((one) => (one === null ? [] : [{ pid: one.pid, script: one.script }])),
    );
    return process;
  }

  // Passes flags and graft.json to programs that read the environment.
  private environment(): NodeJS.ProcessEnv {
    const from = (key: Parameters<Settings['get']>[0], name: string) => {
      const value = this.settings.get(key);
      return value === undefined ? {} : { [name]: value };
    };
    return {
      ...process.env,
      GRAFT_HOME: this.settings.home,
      GRAFT_DASHBOARD: process.env.GRAFT_DASHBOARD || DASHBOARD,
      ...from('host', 'GRAFT_HOST'),
      ...from('grpc-host', 'GRAFT_GRPC_HOST'),
      ...from('grpc-tls-cert', 'GRAFT_GRPC_TLS_CERT'),
      ...from('grpc-tls-key', 'GRAFT_GRPC_TLS_KEY'),
      ...from('database-url', 'GRAFT_DATABASE_URL'),
      ...from('queue-url', 'GRAFT_QUEUE_URL'),
      ...from('blobs', 'GRAFT_BLOBS'),
      ...from('slots', 'GRAFT_WORKER_SLOTS'),
      ...from('threads', 'GRAFT_WORKER_THREADS'),
      ...from('log-level', 'GRAFT_LOG_LEVEL'),
    };
  }
}

const portIn = (address: string | undefined): string => /:(\d+)$/.exec(address ?? '')?.[1] ?? '';

function readyLine(log: string): Ready | null {
  for (const line of log.split('\n')) {
    if (!line.startsWith('{"url"') || !line.includes('"local_grpc_url"') || !line.endsWith('}'))
      continue;
    return JSON.parse(line) as Ready;
  }
  return null;
}
