import type {
  JobInterruptObject,
  JobReceiptObject,
  ReceiptComparisonObject,
} from '@graft/contracts';
import { get, post } from './request.js';

const job = (id: string): string => `/fine_tuning/jobs/${encodeURIComponent(id)}`;

/** Receipts of jobs, and interruptions on purpose. */
export const proofApi = {
  receipt: (id: string) => get<JobReceiptObject>(`${job(id)}/receipt`),
  compareReceipts: (id: string, other: string) =>
    get<ReceiptComparisonObject>(`${job(id)}/receipt/comparison?with=${encodeURIComponent(other)}`),
  interrupt: (id: string, force: boolean) =>
    post<JobInterruptObject>(`${job(id)}/interrupt`, { force }),
};
