import type {
  CheckpointObject,
  DeletedJobObject,
  JobConfusionObject,
  JobEventObject,
  JobLedgerObject,
  JobObject,
  JobPreviewObject,
  JobSampleObject,
  MetricsObject,
  Page,
  SweepObject,
  UpdateJob,
} from '@graft/contracts';
import { all, get, post, request } from './request.js';

const sweep = (id: string): string => `/sweeps/${encodeURIComponent(id)}`;
const job = (id: string): string => `/fine_tuning/jobs/${encodeURIComponent(id)}`;

export const jobsApi = {
  jobs: (query: URLSearchParams, after?: string, limit = 100) =>
    get<Page<JobObject>>(
      `/fine_tuning/jobs?limit=${limit}&${query.toString()}${after ? `&after=${after}` : ''}`,
    ),
  runningJobs: () => get<Page<JobObject>>('/fine_tuning/jobs?limit=100&status=running'),
  job: (id: string) => get<JobObject>(job(id)),
  createJob: (body: unknown) => post<JobObject>('/fine_tuning/jobs', body),
  previewJob: (body: unknown) => post<JobPreviewObject>('/fine_tuning/jobs/preview', body),
  changeJob: (id: string, graft: UpdateJob['graft']) => post<JobObject>(job(id), { graft }),
  deleteJob: async (id: string) =>
    (await request(job(id), { method: 'DELETE' })).json() as Promise<DeletedJobObject>,
  restoreJob: (id: string) => post<JobObject>(`${job(id)}/restore`),
  cancel: (id: string) => post<JobObject>(`${job(id)}/cancel`),
  pause: (id: string) => post<JobObject>(`${job(id)}/pause`),
  resume: (id: string) => post<JobObject>(`${job(id)}/resume`),
  events: (id: string) => get<Page<JobEventObject>>(`${job(id)}/events?limit=1000`),
  logs: (id: string) => get<Page<JobEventObject>>(`${job(id)}/logs?limit=1000`),
  checkpoints: (id: string) => get<Page<CheckpointObject>>(`${job(id)}/checkpoints?limit=50`),
  ledger: (id: string, step: number | null, limit: number) =>
    get<JobLedgerObject>(`${job(id)}/ledger?limit=${limit}${step === null ? '' : `&step=${step}`}`),
  confusion: (id: string, step: number | null) =>
    get<JobConfusionObject>(`${job(id)}/confusion${step === null ? '' : `?step=${step}`}`),
  samples: (id: string, known?: readonly JobSampleObject[]) => all(`${job(id)}/samples`, known),
  latestSamples: (id: string) => get<Page<JobSampleObject>>(`${job(id)}/samples?limit=1`),
  metrics: (id: string) => get<MetricsObject>(`${job(id)}/metrics`),
  sweeps: () => get<Page<SweepObject>>('/sweeps?limit=100'),
  sweep: (id: string) => get<SweepObject>(sweep(id)),
  createSweep: (body: unknown) => post<SweepObject>('/sweeps', body),
  cancelSweep: (id: string) => post<SweepObject>(`${sweep(id)}/cancel`),
};
