import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ApiKeysService } from './auth/api-keys.service.js';
import type { Settings } from './config.js';
import type { JoinTokensService } from './gateway/join-tokens.service.js';

/** What the person on this machine needs: `credentials.json` for the CLI, a file with the join token for workers. */
export interface Credentials {
  readonly apiKey: string;
  readonly joinToken: string;
}

/** Keeps what is there and still valid; else makes a first admin key and a join token. Both files are 0600. */
export async function writeCredentials(
  { home, joinTokenFile: file }: Settings,
  where: { readonly url: string; readonly grpcUrl: string },
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
  const apiKey = valid ? known : await keys.createFirst();
  const content = { url: `${where.url}/v1`, api_key: apiKey, grpc_url: where.grpcUrl };
  writeSecret(credentials, JSON.stringify(content, null, 2) + '\n');

  const kept = existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
  const usable =
    kept !== null &&
    (await tokens.check(kept).then(
      () => true,
      () => false,
    ));
  const joinToken = usable
    ? kept
    : ((await tokens.create({ name: 'local' })) as { secret: string }).secret;
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
  const temporary = `${file}.tmp`;
  writeFileSync(temporary, content, { mode: 0o600 });
  renameSync(temporary, file);
}
