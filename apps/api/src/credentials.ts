import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ApiKeysService } from './auth/keys/api-keys.service.js';
import type { Settings } from './config.js';
import { randomText } from './ids.js';
import type { JoinTokensService } from './auth/keys/join-tokens.service.js';

/** What the person on this machine needs: `credentials.json` for the CLI, a file with the join token for workers. */
export interface Credentials {
  /** Null: the installation's first key was made in another home, and this one has none. */
  readonly apiKey: string | null;
  readonly joinToken: string | null;
}

/**
 * Keeps what is there and still valid. Else a first admin key is made where the installation has none, or where its
 * database is the home's own, and a join token for a home that has a key. Both files are 0600.
 */
export async function writeCredentials(
  { home, joinTokenFile: file }: Settings,
  where: { readonly url: string; readonly grpcUrl: string },
  ownsDatabase: boolean,
  keys: ApiKeysService,
  tokens: JoinTokensService,
): Promise<Credentials> {
  const credentials = join(home, 'credentials.json');
  const known = readKey(credentials);
  const valid =
    known !== null &&
    (await keys.authenticate(known).then(
      () => true,
      () => false,
    ));
  const elsewhere = !valid && !ownsDatabase && (await keys.anyAdmin());
  const apiKey = valid ? known : elsewhere ? null : await keys.createFirst();
  const content = { url: `${where.url}/v1`, api_key: apiKey, grpc_url: where.grpcUrl };
  if (apiKey !== null) writeSecret(credentials, JSON.stringify(content, null, 2) + '\n');

  const kept = existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
  const usable =
    kept !== null &&
    (await tokens.check(kept).then(
      () => true,
      () => false,
    ));
  if (!usable && apiKey === null) return { apiKey, joinToken: null };
  const joinToken = usable ? kept : ((await tokens.create(null, { name: 'local' })).secret ?? '');
  mkdirSync(dirname(file), { recursive: true });
  writeSecret(file, joinToken + '\n');
  return { apiKey, joinToken };
}

function readKey(file: string): string | null {
  if (!existsSync(file)) return null;
  try {
    const { api_key: key } = JSON.parse(readFileSync(file, 'utf8')) as { api_key?: unknown };
    return typeof key === 'string' ? key : null;
  } catch {
    // Half-written by hand: a new key replaces it.
    return null;
  }
}

function writeSecret(file: string, content: string): void {
  const temporary = `${file}.${randomText(8)}.tmp`;
  writeFileSync(temporary, content, { mode: 0o600 });
  renameSync(temporary, file);
}
