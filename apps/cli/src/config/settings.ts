import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { GRAFT } from '../called.js';
import { CliError, EXIT } from '../cli-error.js';

/** Setting. Order of precedence: flag, environment, graft.json, default. */
export interface Setting {
  /** Name of its flag without the leading dashes. Its name in graft.json has underscores. */
  readonly key: string;
  readonly env: string;
  /** Whether graft.json may set it. */
  readonly inFile: boolean;
  readonly description: string;
}

/** Settings of the CLI. docs/reference/configuration.md is generated from them. */
export const SETTINGS = [
  {
    key: 'home',
    env: 'GRAFT_HOME',
    inFile: false,
    description: 'folder of the database, blobs, caches, logs, credentials and graft.json',
  },
  {
    key: 'url',
    env: 'GRAFT_URL',
    inFile: true,
    description: 'address of the API that commands connect to',
  },
  { key: 'api-key', env: 'GRAFT_API_KEY', inFile: true, description: 'API key that commands use' },
  { key: 'port', env: 'GRAFT_PORT', inFile: true, description: 'port of the API and dashboard' },
  {
    key: 'host',
    env: 'GRAFT_HOST',
    inFile: true,
    description: 'address that the API and dashboard listen on',
  },
  {
    key: 'grpc-host',
    env: 'GRAFT_GRPC_HOST',
    inFile: true,
    description: 'address that workers connect to',
  },
  {
    key: 'grpc-port',
    env: 'GRAFT_GRPC_PORT',
    inFile: true,
    description: 'port that workers connect to',
  },
  {
    key: 'grpc-tls-cert',
    env: 'GRAFT_GRPC_TLS_CERT',
    inFile: true,
    description: 'TLS certificate presented to workers',
  },
  {
    key: 'grpc-tls-key',
    env: 'GRAFT_GRPC_TLS_KEY',
    inFile: true,
    description: 'private key of the TLS certificate',
  },
  {
    key: 'database-url',
    env: 'GRAFT_DATABASE_URL',
    inFile: true,
    description: 'URL of an external PostgreSQL',
  },
  {
    key: 'queue-url',
    env: 'GRAFT_QUEUE_URL',
    inFile: true,
    description: 'URL of an external Redis',
  },
  {
    key: 'blobs',
    env: 'GRAFT_BLOBS',
    inFile: true,
    description: 'folder or s3://BUCKET/PREFIX of files, models and checkpoints',
  },
  {
    key: 'slots',
    env: 'GRAFT_WORKER_SLOTS',
    inFile: true,
    description: 'jobs that the local worker runs concurrently',
  },
  {
    key: 'threads',
    env: 'GRAFT_WORKER_THREADS',
    inFile: true,
    description: 'CPU threads of a trainer',
  },
  {
    key: 'log-level',
    env: 'GRAFT_LOG_LEVEL',
    inFile: true,
    description: 'log level of the API and worker',
  },
] as const satisfies readonly Setting[];

export type SettingKey = (typeof SETTINGS)[number]['key'];

export interface Settings {
  readonly home: string;
  get(key: SettingKey): string | undefined;
}

/**
 * Settings of this call. The home folder has the settings file, so it comes from the flag, the environment or the default
 * only: `.graft` in the current folder if it has credentials.json, otherwise in the user's home.
 */
export function readSettings(
  flags: Readonly<Partial<Record<SettingKey, string>>>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Settings {
  const home = resolve(flags.home ?? (env.GRAFT_HOME || defaultHome()));
  const file = readFile(join(home, 'graft.json'));
  return {
    home,
    get(key) {
      if (key === 'home') return home;
      const setting = SETTINGS.find((one) => one.key === key);
      return flags[key] ?? ((setting && env[setting.env]) || file.get(key));
    },
  };
}

/** Command that runs `graft` with this home from another terminal in this folder. */
export const graftFor = (home: string): string =>
  home === defaultHome() ? GRAFT : `GRAFT_HOME=${home} ${GRAFT}`;

function defaultHome(): string {
  const local = resolve('.graft');
  return hasCredentials(local) ? local : join(homedir(), '.graft');
}

function hasCredentials(folder: string): boolean {
  try {
    readFileSync(join(folder, 'credentials.json'));
    return true;
  } catch {
    return false;
  }
}

function readFile(path: string): Map<string, string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return new Map(); // The file is optional.
  }
  const known = new Set<string>(SETTINGS.filter((one) => one.inFile).map((one) => one.key));
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(parseObject(path, text))) {
    const key = name.replaceAll('_', '-');
    if (!known.has(key)) {
      throw new CliError(
        `${path}: unknown setting "${name}"; expected one of ${[...known].join(', ')}`,
        EXIT.usage,
      );
    }
    if (typeof value !== 'string' && typeof value !== 'number') {
      throw new CliError(`${path}: "${name}" must be a string or a number`, EXIT.usage);
    }
    values.set(key, String(value));
  }
  return values;
}

function parseObject(path: string, text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch (error) {
    throw new CliError(`${path} is not valid JSON: ${(error as Error).message}`, EXIT.usage);
  }
  throw new CliError(`${path}: expected a JSON object`, EXIT.usage);
}
