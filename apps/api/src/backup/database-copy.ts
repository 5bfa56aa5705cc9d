import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, opendir, readFile, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { DomainError } from '@graft/contracts';
import { Client } from 'pg';
import type { StoredBlob } from '../blobs/blob-backend.js';
import type { CopiedFile } from './manifest.js';
import { hashOf, syncedFile } from './synced-file.js';

export interface DatabaseCopy {
  readonly files: readonly CopiedFile[];
  /** Every blob that a row of the copy references, and possibly some that are no longer referenced. */
  readonly blobs: readonly StoredBlob[];
}

const NAMED = 'SELECT DISTINCT sha256, size::float8 AS size FROM blob_ref';

/** Copies a database with pg_dump, in the snapshot of one transaction. */
export async function dumpDatabase(databaseUrl: string, folder: string): Promise<DatabaseCopy> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const { rows } = await client.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
    const named = await client.query<StoredBlob>(NAMED);
    const path = join(folder, 'database.dump');
    await pgDump(databaseUrl, ['--format=custom', `--snapshot=${rows[0]?.id}`, `--file=${path}`]);
    await client.query('COMMIT');
    return { files: [await described(folder, path)], blobs: named.rows };
  } finally {
    await client.end();
  }
}

async function pgDump(databaseUrl: string, args: readonly string[]): Promise<void> {
  await runPg('pg_dump', [...args, `--dbname=${withoutPassword(databaseUrl)}`], databaseUrl);
}

/** Runs a PostgreSQL client program. It passes the password so that other users of the machine cannot see it. */
export async function runPg(
  program: string,
  args: readonly string[],
  databaseUrl: string,
): Promise<void> {
  const password = decodeURIComponent(new URL(databaseUrl).password);
  const child = spawn(program, args, {
    env: { ...process.env, ...(password && { PGPASSWORD: password }) },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let stderrTail = '';
  child.stderr.on(
    'data',
    (data: Buffer) => (stderrTail = `${stderrTail}${data.toString()}`.slice(-2000)),
  );
  const [code] = (await once(child, 'close').catch((error: NodeJS.ErrnoException) => {
    const help = 'install the PostgreSQL client programs, in the version of the server or newer';
    throw new DomainError(
      'unavailable',
      error.code === 'ENOENT' ? `${program} is not installed; ${help}` : error.message,
    );
  })) as [number | null];
  if (code !== 0) throw new DomainError('unavailable', `${program} failed: ${stderrTail.trim()}`);
}

export function withoutPassword(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.password = '';
  return url.href;
}

/**
 * Files that a running server creates again, and those that belong to its process (PostgreSQL manual, "Making a Base
 * Backup").
 */
const EMPTIED =
  /^(pg_dynshmem|pg_notify|pg_replslot|pg_serial|pg_snapshots|pg_stat_tmp|pg_subtrans)$/;
const LEFT_OUT = /^(postmaster\.(pid|opts)|backup_label|tablespace_map|pgsql_tmp.*)$/;

/**
 * Makes a restored server recover from its own pg_wal and start a new timeline, by which the API recognizes a
 * restore.
 */
const RECOVERY = "\nrestore_command = 'exit 1'\n";

/**
 * Copies the files of the embedded server while it runs, with PostgreSQL's low-level backup API; the embedded server
 * does not include pg_dump.
 * @param postgres folder of the server, which contains `data` and `password`
 */
export async function copyEmbedded(
  databaseUrl: string,
  postgres: string,
  folder: string,
): Promise<DatabaseCopy> {
  const copy = new FolderCopy(join(postgres, 'data'), join(folder, 'postgres', 'data'), folder);
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    // A temporary slot retains the WAL that is written meanwhile. It ends with the session.
    await client.query(`SELECT pg_create_physical_replication_slot($1, true, true)`, [
      `graft_backup_${process.pid}`,
    ]);
    await client.query(`SELECT pg_backup_start('graft', true)`);
    const began = await client.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    await copy.all(['global/pg_control', 'pg_wal', 'postgresql.auto.conf']);
    await copy.file('global/pg_control');
    const before = await client.query<StoredBlob>(NAMED);
    const stopped = await client.query<{ labelfile: string }>(
      'SELECT labelfile FROM pg_backup_stop(false)',
    );
    // Blobs whose last reference was removed between the two queries keep their bytes for a day.
    const after = await client.query<StoredBlob>(
      `${NAMED} UNION SELECT sha256, size::float8 FROM blob WHERE dropped_at >= $1`,
      [began.rows[0]?.now],
    );
    await copy.all([], 'pg_wal');
    const settings = await readFile(join(postgres, 'data', 'postgresql.auto.conf'), 'utf8');
    await copy.write('postgresql.auto.conf', settings + RECOVERY);
    await copy.write('recovery.signal', '');
    await copy.write('backup_label', stopped.rows[0]?.labelfile ?? '');
    await copy.write('../password', await readFile(join(postgres, 'password'), 'utf8'));
    const all = new Map([...before.rows, ...after.rows].map((blob) => [blob.sha256, blob]));
    return { files: copy.files, blobs: [...all.values()] };
  } finally {
    await client.end();
  }
}

class FolderCopy {
  readonly files: CopiedFile[] = [];

  constructor(
    private readonly from: string,
    private readonly to: string,
    /** Prefix of the paths in `files`. */
    private readonly root: string,
  ) {}

  /** Copies the contents of a folder. Excluded paths become empty folders. */
  async all(without: readonly string[], at = ''): Promise<void> {
    await mkdir(join(this.to, at), { recursive: true, mode: 0o700 });
    for await (const entry of await opendir(join(this.from, at))) {
      const path = join(at, entry.name);
      if (LEFT_OUT.test(entry.name)) continue;
      if (entry.isDirectory()) {
        if (without.includes(path) || EMPTIED.test(path))
          await mkdir(join(this.to, path), { recursive: true, mode: 0o700 });
        else await this.all(without, path);
      } else if (!entry.isFile())
        throw new DomainError(
          'unsupported',
          `${join(this.from, path)} is neither a file nor a folder; tablespaces in other places cannot be copied`,
        );
      else if (!without.includes(path)) await this.file(path);
    }
  }

  /** Copies a file. A file that disappears meanwhile is skipped; the server recovers it from the WAL. */
  async file(path: string): Promise<void> {
    try {
      await this.write(path, createReadStream(join(this.from, path)) as AsyncIterable<Buffer>);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      await rm(join(this.to, path), { force: true });
    }
  }

  async write(path: string, content: string | AsyncIterable<Buffer>): Promise<void> {
    const to = join(this.to, path);
    const chunks = typeof content === 'string' ? [Buffer.from(content)] : content;
    this.files.push({ path: relative(this.root, to), ...(await syncedFile(to, chunks)) });
  }
}

async function described(folder: string, path: string): Promise<CopiedFile> {
  return { path: relative(folder, path), ...(await hashOf(path)) };
}
