import { readFile } from 'node:fs/promises';
import type { JobReceiptObject } from '@graft/contracts';
import { hashOfJson } from '@graft/contracts/canonical-json';
import { unreadable, type Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { findJobId, jobPath } from './find-job.js';

/** Finds a receipt: a name that ends in .json is a file, every other one a job. */
export async function findReceipt(api: () => Api, name: string): Promise<JobReceiptObject> {
  if (/\.json$/i.test(name)) return savedReceipt(name);
  const id = await findJobId(api(), name);
  return api().get<JobReceiptObject>(`${jobPath(id)}/receipt`);
}

/** @throws CliError if the file is not a receipt, or if it was changed after it was saved */
async function savedReceipt(path: string): Promise<JobReceiptObject> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const receipt = parsed(text);
  if (receipt?.object !== 'graft.receipt')
    throw new CliError(
      `${path} is not a receipt; graft receipt JOB --out FILE saves one`,
      EXIT.usage,
    );
  const { receipt_sha256: hash, ...rest } = receipt;
  if (hashOfJson(rest) !== hash)
    throw new CliError(`${path} was changed: its content does not have the hash in receipt_sha256`);
  return receipt;
}

function parsed(text: string): JobReceiptObject | null {
  try {
    return JSON.parse(text) as JobReceiptObject | null;
  } catch {
    return null;
  }
}
