import { DomainError } from '@graft/contracts';
import { ApiKeysService } from './auth/keys/api-keys.service.js';
import { Audit } from './auth/audit.js';
import { dataSource } from './database/data-source.js';
import { Database } from './database/database.js';
import { hasEmbeddedPostgres, startEmbeddedPostgres } from './database/embedded-postgres.js';

/**
 * Another administrator's key, for whoever may read the server's database: the way back where every other is lost. Works
 * beside a running API, which takes it at once.
 * @param databaseUrl null: the embedded server in `home`, which is started where it does not run
 */
export async function makeAdminKey(home: string, databaseUrl: string | null): Promise<string> {
  if (databaseUrl !== null) return keyIn(databaseUrl);
  if (!hasEmbeddedPostgres(home))
    throw new DomainError(
      'not_found',
      `${home} holds no database; name another --home, or the --database-url that the API uses`,
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
        'the database is of another version; start this version of the API once',
      );
    return await new ApiKeysService(new Database(source), new Audit()).createFirst('recovered');
  } finally {
    await source.destroy();
  }
}
