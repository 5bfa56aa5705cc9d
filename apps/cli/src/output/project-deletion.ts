import type { ProjectDeletionObject } from '@graft/contracts';
import { createInterface } from 'node:readline/promises';
import { bytes, printable, table } from './terminal.js';

/** Card of a project's deletion: what it deletes and keeps, and until when it can be undone. */
export function deletionCard(
  { project_id: id, name, deletes, keeps, at_least, deletes_at: at }: ProjectDeletionObject,
  width: number,
): string {
  const { jobs, stored_bytes: stored, ...counts } = deletes;
  const byStatus = Object.entries(jobs).filter(([, count]) => count > 0);
  const all = byStatus.reduce((sum, [, count]) => sum + count, 0);
  const states = byStatus.map(([status, count]) => `${count} ${status}`).join(', ');
  const many = (what: string, count: number): string =>
    at_least.includes(what) ? `at least ${count}` : String(count);
  const rows = [
    ['jobs', all === 0 ? '0' : `${many('jobs', all)} (${states})`],
    ...Object.entries(counts).map(([what, count]) => [
      what.replaceAll('_', ' '),
      many(what, count),
    ]),
    ['storage', bytes(stored)],
  ];
  return [
    `${printable(name)} (${id})`,
    table(['DELETED', 'COUNT'], rows, { width }).trimEnd(),
    `kept: ${many('audit_logs', keeps.audit_logs)} audit log entries`,
    `restorable until ${moment(at)}`,
    '',
  ].join('\n');
}

export const moment = (unixSeconds: number): string => new Date(unixSeconds * 1000).toISOString();

/** Asks for the name of the project on stdin. Returns whether the answer matches. */
export async function typesName(name: string): Promise<boolean> {
  const input = createInterface({ input: process.stdin, output: process.stderr });
  try {
    input.setPrompt(`Type the name of the project to delete it: `);
    input.prompt();
    for await (const line of input) return line.trim() === name;
    return false;
  } finally {
    input.close();
  }
}
