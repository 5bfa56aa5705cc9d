import { DomainError } from '@graft/contracts';
import { ApiKeysService } from './auth/keys/api-keys.service.js';
import { Audit } from './auth/audit.js';
import { dataSource } from './database/data-source.js';
import { Database } from './database/database.js';
import { hasEmbeddedPostgres, startEmbeddedPostgres } from './database/embedded-postgres.js';

/**
 * Creates an administrator's key, for recovery when every other is lost. It requires access to the server's database,
 * and works next to a running API, which accepts the key immediately.
 * @param databaseUrl `null` for the embedded server in `home`, which is started if it is not running
 */
export async function makeAdminKey(home: string, databaseUrl: string | null): Promise<string> {
  if (databaseUrl !== null) return keyIn(databaseUrl);
  if (!hasEmbeddedPostgres(home))
    throw new DomainError(
      'not_found',
      `${home} contains no database; set --home to another folder, or --database-url to the URL that the API uses`,
    );
  const embedded = await startEmbeddedPostgres(home);
  try {
    return await keyIn(embedded.url);
  } finally {
    await (embedded.joined ? embedded.leave() : embedded.stop());
  }
}

async function keyIn(databaseUrl: string): Promise<string> {
  const source = await dataSource(databaseUrl).initialize();
  try {
    if (await source.showMigrations())
      throw new DomainError(
        'conflict',
        'the database has the schema of another version; start this version of the API once to migrate it',
      );
    return await new ApiKeysService(new Database(source), new Audit()).createFirst('recovered');
  } finally {
    await source.destroy();
  }
}
