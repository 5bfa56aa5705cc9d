// Problems of an installation that someone should act on: GET /v1/problems.
import { z } from 'zod';

export const PROBLEM_CODES = [
  'worker_silent',
  'worker_offline',
  'worker_cordoned',
  'pool_without_workers',
  'pool_cordoned',
  'pool_outdated',
  'pool_not_granted',
  'job_failed',
  'job_waiting',
  'limit_reached',
  'limit_near',
  'webhook_failing',
  'webhook_disabled',
  'tracker_failing',
  'import_failed',
  'storage_full',
  'queue_down',
  'dispatch_late',
  'notifications_down',
] as const;

export const ProblemSeverity = z.enum(['error', 'warning', 'info']).meta({
  id: 'ProblemSeverity',
  description:
    '`error`: something does not work; `warning`: it will stop working or needs a decision; `info`: worth knowing.',
});
export type ProblemSeverity = z.infer<typeof ProblemSeverity>;

export const ProblemObject = z
  .object({
    object: z.literal('graft.problem'),
    code: z.enum(PROBLEM_CODES),
    severity: ProblemSeverity,
    title: z.string().describe('What is wrong, in one sentence.'),
    action: z.string().describe('What to do about it, in one sentence.'),
    since: z.number().nullable().describe('Time since which it is wrong; null if unknown.'),
    subject: z
      .object({
        type: z.enum([
          'worker',
          'pool',
          'job',
          'limit',
          'webhook',
          'integration',
          'model',
          'service',
        ]),
        id: z.string().describe('ID of the object; for a limit, its name.'),
        name: z.string(),
      })
      .describe('Object that the problem is about.'),
    project_id: z
      .string()
      .nullable()
      .describe('Project of the object; null if it belongs to the installation.'),
  })
  .meta({ id: 'ProblemObject', description: 'Something that is wrong now.' });
export type ProblemObject = z.infer<typeof ProblemObject>;
