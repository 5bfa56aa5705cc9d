import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CliError, EXIT } from '../cli-error.js';
import { readLogin } from './login.js';
import type { Credentials } from './server-access.js';
import type { Settings } from './settings.js';
import { GRAFT } from '../called.js';

/** Contents of credentials.json, which the API writes. */
export interface StoredCredentials extends Credentials {
  /** Address for workers. Null if the file was written by hand with a URL and a key only. */
  readonly grpcUrl: string | null;
}

/**
 * Address and key from flags, environment or graft.json; a missing one comes from `graft login`, otherwise from
 * GRAFT_HOME/credentials.json.
 */
export function credentialsOf(settings: Settings): Credentials {
  const stored = readLogin(settings.home) ?? readCredentials(settings.home);
  const url = settings.get('url') ?? stored?.url;
  const apiKey = settings.get('api-key') ?? stored?.apiKey;
  if (url === undefined || apiKey === undefined) {
    const what = url === undefined ? 'API address' : 'API key';
    throw new CliError(
      `no ${what} found in ${join(settings.home, 'credentials.json')}; start Graft with \`${GRAFT} up\`, sign in with \`${GRAFT} login URL\`, or set GRAFT_URL and GRAFT_API_KEY`,
      EXIT.usage,
    );
  }
  return { url: apiUrl(url), apiKey };
}

/** Base URL of the API for an address that a user typed. @throws CliError if it is not an address */
export function apiUrl(url: string): string {
  if (!/^https?:$/.test(protocolOf(url)))
    throw new CliError(
      `"${url}" is not a valid API address; expected http://HOST:PORT`,
      EXIT.usage,
    );
  return url.replace(/\/+$/, '').replace(/(?<!\/v1)$/, '/v1');
}

function protocolOf(url: string): string {
  try {
    return new URL(url).protocol;
  } catch {
    return '';
  }
}

/** Credentials that the API wrote at its start. Null if there are none. */
export function readCredentials(home: string): StoredCredentials | null {
  try {
    const value = JSON.parse(readFileSync(join(home, 'credentials.json'), 'utf8')) as {
      url?: unknown;
      api_key?: unknown;
      grpc_url?: unknown;
    };
    if (typeof value.url !== 'string' || typeof value.api_key !== 'string') return null;
    const grpcUrl = typeof value.grpc_url === 'string' ? value.grpc_url : null;
    return { url: value.url, apiKey: value.api_key, grpcUrl };
  } catch {
    return null; // No API has been started with this home folder.
  }
}
