import { rename, writeFile } from 'node:fs/promises';
import type { JobReceiptObject } from '@graft/contracts';
import { compareReceipts } from '@graft/contracts/compare-receipts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { EXIT } from '../cli-error.js';
import { findJob, jobPath, ownName } from '../find/find-job.js';
import { findReceipt } from '../find/find-receipt.js';
import { receiptCard, receiptComparison } from '../output/receipt-card.js';
import { GRAFT } from '../called.js';

export function addReceipt(program: Command): void {
  const receipt = program
    .command('receipt')
    .description('Prove what a job was made of and what came out, by SHA-256');
  receipt
    .command('show', { isDefault: true })
    .description('Show the receipt of a job, or save it')
    .argument('<job>')
    .option('-o, --out <file>', 'save it as JSON (- for stdout)')
    .action(async (name: string, { out: path }: { out?: string }, command: Command) => {
      const { out, api } = callOf(command);
      const job = await findJob(api(), name);
      const value = await api().get<JobReceiptObject>(`${jobPath(job.id)}/receipt`);
      const text = `${JSON.stringify(value, null, 2)}\n`;
      if (path === '-') return void process.stdout.write(text);
      if (path !== undefined) await save(path, text);
      if (out.json) return out.value(value);
      if (path === undefined) out.line(receiptCard(value, ownName(job), out.width));
      else out.line(path);
      out.note(`Compare it: ${GRAFT} receipt compare ${path ?? name} OTHER`);
    });
  receipt
    .command('compare')
    .description('Compare the receipts of two jobs; exits with 1 unless they are identical')
    .argument('<job-or-file>', 'a job, or a saved receipt (*.json)')
    .argument('<other-job-or-file>', 'same')
    .action(async (a: string, b: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const [first, second] = [await findReceipt(api, a), await findReceipt(api, b)];
      const compared = compareReceipts(first, second);
      if (out.json) out.value(compared);
      else out.line(receiptComparison(compared, [a, b], out.width));
      if (compared.verdict !== 'identical') process.exitCode = EXIT.failed;
    });
}

/** Writes a file completely or not at all. */
async function save(path: string, text: string): Promise<void> {
  const partial = `${path}.part`;
  await writeFile(partial, text);
  await rename(partial, path);
}
