import type { ApiConfig } from '../config.js';
import { makeBackup } from './backup.js';
import { restoreBackup } from './restore.js';
import { verifyBackup } from './verify.js';

export const BACKUP_COMMANDS = ['backup', 'verify', 'restore'] as const;
export type BackupCommand = (typeof BACKUP_COMMANDS)[number];

const GB = 1e9;

/**
 * Runs `graft-api backup|verify|restore`. Progress goes to stderr, the result to stdout.
 * @param snapshot name of a snapshot in the folder; default: the newest
 * @returns the exit code
 */
export async function backupCommand(
  command: BackupCommand,
  folder: string,
  { config, snapshot }: { config: ApiConfig; snapshot: string | undefined },
): Promise<number> {
  const report = (text: string): void => void process.stderr.write(`${text}\n`);
  try {
    if (command === 'backup') {
      const { name, manifest, copied } = await makeBackup(config, folder, report);
      print(`${name}: ${size(manifest.blobs)}; ${copied} of them are new in ${folder}`);
    } else if (command === 'restore') {
      const { name, manifest } = await restoreBackup(config, folder, report, snapshot);
      print(`restored ${name}: ${size(manifest.blobs)}; start the API now`);
    } else {
      const { name, manifest, problems } = await verifyBackup(folder, report, snapshot);
      for (const problem of problems) print(problem);
      if (problems.length > 0) throw new Error(`${name} is damaged (${problems.length} files)`);
      print(`${name} is complete: ${size(manifest.blobs)}and a ${manifest.database} database`);
    }
    return 0;
  } catch (error) {
    report(`${command} failed: ${(error as Error).message}`);
    return 1;
  }
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const size = ({ count, bytes }: { count: number; bytes: number }): string =>
  `${count} blobs of ${(bytes / GB).toFixed(3)} GB`;
