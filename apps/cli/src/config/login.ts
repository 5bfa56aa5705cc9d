import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Credentials } from './server-access.js';

// `graft login` has its own file, because the API of this home writes credentials.json at each start.

/** File in the home folder with the server that `graft login` signed in to. */
export const loginFile = (home: string): string => join(home, 'login.json');

/** Server that `graft login` signed in to. Null if there is none. */
export function readLogin(home: string): Credentials | null {
  try {
    const value = JSON.parse(readFileSync(loginFile(home), 'utf8')) as Record<string, unknown>;
    const { url, api_key: apiKey } = value;
    return typeof url === 'string' && typeof apiKey === 'string' ? { url, apiKey } : null;
  } catch {
    return null;
  }
}

/** Stores a server and its key, so that only the user can read them. */
export function writeLogin(home: string, { url, apiKey }: Credentials): void {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const temporary = `${loginFile(home)}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify({ url, api_key: apiKey }, null, 2)}\n`, {
    mode: 0o600,
  });
  renameSync(temporary, loginFile(home));
}

export const removeLogin = (home: string): void => rmSync(loginFile(home), { force: true });
