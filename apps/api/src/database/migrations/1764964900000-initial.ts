import type { MigrationInterface, QueryRunner } from 'typeorm';
import { BATCHES } from './initial/batches.js';
import { BLOB_REFS } from './initial/blob-refs.js';
import { DISPATCH } from './initial/dispatch.js';
import { EVALS } from './initial/evals.js';
import { INSTALLATION } from './initial/installation.js';
import { INTEGRATIONS } from './initial/integrations.js';
import { JOBS } from './initial/jobs.js';
import { RESPONSES } from './initial/responses.js';
import { STORAGE } from './initial/storage.js';
import { SWEEPS } from './initial/sweeps.js';
import { TENANCY } from './initial/tenancy.js';
import { TRACES } from './initial/traces.js';
import { WEBHOOKS } from './initial/webhooks.js';

const STATEMENTS = [
  ...INSTALLATION,
  ...TENANCY,
  ...STORAGE,
  ...JOBS,
  ...SWEEPS,
  ...DISPATCH,
  ...EVALS,
  ...WEBHOOKS,
  ...INTEGRATIONS,
  ...TRACES,
  ...RESPONSES,
  ...BATCHES,
  ...BLOB_REFS,
];

/** Returns the names that the statements create, captured after CREATE. */
const created = (what: RegExp): string =>
  STATEMENTS.flatMap((statement) => what.exec(statement)?.[1] ?? []).join(', ');

/** Schema of the first release. After the release of 0.1.0, change the schema in new migrations. */
export class Initial1764964900000 implements MigrationInterface {
  readonly name = 'Initial1764964900000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of STATEMENTS) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE ${created(/^CREATE (?:UNLOGGED )?TABLE ("\w+")/)}`);
    await runner.query(`DROP FUNCTION ${created(/^CREATE FUNCTION (\w+)/)}`);
  }
}
