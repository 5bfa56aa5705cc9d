import { X509Certificate } from 'node:crypto';
import { availableParallelism, hostname } from 'node:os';
import { resolve } from 'node:path';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  DomainError,
  optionsHelp,
  parserOptions,
  sourceOf,
  POOL_NAME,
  POOL_NAME_RULE,
} from '@graft/contracts';
import type { DeviceChoice } from '../trainer-pool/devices.js';
import { WORKER_OPTIONS, type WorkerFlag } from './options.js';

/** Settings of a worker. Flags take precedence over environment variables. */
export interface Settings {
  /** HOST:PORT of the control plane's worker gateway, or several separated by commas. */
  readonly address: string;
  readonly tls: boolean;
  /** PEM certificates to trust instead of the system's. */
  readonly ca: string | null;
  readonly token: string;
  readonly pool: string;
  readonly name: string;
  /** Maximum concurrent runs. */
  readonly slots: number;
  /** Maximum concurrent model requests; twice as many may wait. */
  readonly maxChats: number;
  /** Home folder for caches, spool, run folders and PID files; one per worker. */
  readonly home: string;
  /** Threads of each trainer. Fixed, because a checkpoint resumes bit for bit only with the same number. */
  readonly threads: number;
  readonly device: DeviceChoice;
  /** User that trainers run as; null for the worker's own user. */
  readonly trainerUser: string | null;
  /** Maximum size of the blob cache; the least recently used blobs are evicted. */
  readonly cacheBytes: number;
  /** Idle time after which a trainer that holds a base is stopped. */
  readonly idleUnloadMs: number;
  /** Time without the control plane after which runs save a checkpoint locally and stop. */
  readonly offlineLimitMs: number;
  /** Maximum duration of a drain. */
  readonly drainMs: number;
  readonly logLevel: string;
}

export const USAGE = `graft-worker: joins a Graft control plane, trains its jobs and serves its models.

  graft-worker --url grpc://HOST:PORT --token TOKEN [options]

${optionsHelp(WORKER_OPTIONS)}

SIGTERM or Ctrl-C drains the worker: it saves a checkpoint of every run and returns the jobs within 60 s.
A second signal stops it immediately.
`;

const FLAGS = { ...parserOptions(WORKER_OPTIONS), help: { type: 'boolean' } } as const;

/**
 * Reads the settings from flags and environment variables.
 * @returns null for `--help`
 * @throws DomainError that names the invalid flag
 */
export function readSettings(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Settings | null {
  const flags = parseFlags(args);
  if (flags.help) return null;
  /** Empty if neither is set. Compose files set unused variables to empty strings. */
  const given = (flag: WorkerFlag): string =>
    flags[flag] || env[sourceOf(WORKER_OPTIONS, flag).variable] || '';
  const text = (flag: WorkerFlag, otherwise?: string): string => {
    const { variable, fallback } = sourceOf(WORKER_OPTIONS, flag);
    const value = given(flag) || (otherwise ?? fallback);
    if (value === null)
      throw new DomainError(
        'missing_required_parameter',
        `--${flag} (or ${variable}) is missing`,
        flag,
      );
    return value;
  };
  const number = (flag: WorkerFlag, min: number, otherwise?: number): number => {
    const entered = text(flag, otherwise?.toString());
    const value = Number(entered);
    if (!Number.isFinite(value) || value < min)
      throw new DomainError(
        'invalid_value',
        `--${flag} must be a number ≥ ${min} (got ${entered})`,
        flag,
      );
    return value;
  };
  const tokenFile = flags['token-file'] || (flags.token ? '' : given('token-file'));
  const pool = text('pool');
  if (!POOL_NAME.test(pool))
    throw new DomainError('invalid_value', `--pool ${POOL_NAME_RULE} (got ${pool})`, 'pool');
  const gateway = parseUrl(text('url'));
  const caFile = given('ca-file');
  if (caFile && !gateway.tls)
    throw new DomainError(
      'invalid_value',
      '--ca-file requires TLS; use a --url that starts with grpcs://',
      'ca-file',
    );
  return {
    ...gateway,
    ca: caFile ? readCertificates(caFile) : null,
    token: tokenFile ? readToken(tokenFile) : text('token').trim(),
    pool,
    name: text('name', hostname()).slice(0, 120),
    slots: Math.floor(number('slots', 1)),
    maxChats: Math.floor(number('max-chats', 1)),
    home: resolve(text('home')),
    threads: Math.floor(number('threads', 1, availableParallelism())),
    device: parseDevice(text('device')),
    trainerUser: given('trainer-user') || null,
    cacheBytes: number('cache-gb', 0.001) * 1e9,
    idleUnloadMs: number('idle-minutes', 0) * 60_000,
    offlineLimitMs: 600_000,
    drainMs: 60_000,
    logLevel: text('log-level'),
  };
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: FLAGS, allowPositionals: false }).values;
  } catch (error) {
    throw new DomainError(
      'unknown_parameter',
      error instanceof Error ? error.message : String(error),
    );
  }
}

function parseDevice(text: string): DeviceChoice {
  if (text === 'auto') return text;
  if (text === 'cpu') return [text];
  const names = text.split(',').map((name) => name.trim());
  if (names.every((name) => /^cuda:(0|[1-9]\d?)$/.test(name))) return [...new Set(names)];
  throw new DomainError(
    'invalid_value',
    `--device must be auto, cpu or cuda:N, or several as cuda:0,cuda:1 (got ${text})`,
    'device',
  );
}

const HOST_AND_PORT = String.raw`(?:\[[0-9a-f:]+\]|[^/:?#@,\s]+):\d{1,5}`;
const URL_OF_GATEWAYS = new RegExp(`^(grpcs?)://(${HOST_AND_PORT}(?:,${HOST_AND_PORT})*)/?$`, 'i');

function parseUrl(url: string): { address: string; tls: boolean } {
  const match = URL_OF_GATEWAYS.exec(url);
  if (match === null)
    throw new DomainError(
      'invalid_value',
      `--url "${url}" is not a worker gateway URL; expected one such as grpc://127.0.0.1:7443, which the API logs at start`,
      'url',
    );
  return { address: match[2] ?? '', tls: match[1]?.toLowerCase() === 'grpcs' };
}

function readToken(path: string): string {
  return readText(path, 'token-file').trim();
}

function readCertificates(path: string): string {
  const pem = readText(path, 'ca-file');
  try {
    void new X509Certificate(pem);
    return pem;
  } catch {
    throw new DomainError(
      'invalid_value',
      `--ca-file ${path} contains no PEM certificate`,
      'ca-file',
    );
  }
}

function readText(path: string, flag: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DomainError('invalid_value', `--${flag} cannot be read: ${reason}`, flag);
  }
}
