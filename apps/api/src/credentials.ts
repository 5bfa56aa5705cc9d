import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ApiKeysService } from './auth/keys/api-keys.service.js';
import type { Settings } from './config.js';
import { randomText } from './ids.js';
import type { JoinTokensService } from './auth/keys/join-tokens.service.js';

/**
 * Credentials for the user of this machine: `credentials.json` for the CLI, and a file with the join token for
 * workers.
 */
export interface Credentials {
  /** `null` if the first key of the installation was created in another home. */
  readonly apiKey: string | null;
  readonly joinToken: string | null;
}

/**
 * Keeps existing credentials that are still valid. Otherwise it creates a first admin key if the installation has
 * none or the database belongs to this home, and a join token if this home has a key. Both files have mode 0600.
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
  const elsewhere = !valid && !ownsDatabase && (await keys.hasAdminKey());
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
    // The file was edited by hand and is not valid JSON; a new key replaces it.
    return null;
  }
}

function writeSecret(file: string, content: string): void {
  const temporary = `${file}.${randomText(8)}.tmp`;
  writeFileSync(temporary, content, { mode: 0o600 });
  renameSync(temporary, file);
}
