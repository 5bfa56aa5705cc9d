// Administration: OpenAI's objects of /v1/organization, with Graft's own fields under `graft`.
import { ProjectLimits } from '../http/graft-api.js';
import { JOB_STATUSES } from '../jobs/job-status.js';
import { ROLES } from './scopes.js';

import { z } from 'zod';

export const ProjectObject = z
  .object({
    object: z.literal('organization.project'),
    id: z.string(),
    name: z.string(),
    created_at: z.number(),
    archived_at: z.number().nullable(),
    status: z.enum(['active', 'archived']),
    graft: z.object({
      weight: z.number().describe("Its share of a pool's slots beside other projects' that wait."),
      limits: ProjectLimits.describe('What is absent is not limited.'),
      running_jobs: z.number(),
      queued_jobs: z.number(),
      pools: z.array(z.string()).readonly().describe('Pools that it may use.'),
      deletes_at: z
        .number()
        .nullable()
        .describe('When it is deleted; null unless its deletion was asked for.'),
    }),
  })
  .meta({ id: 'ProjectObject' });
export type ProjectObject = z.infer<typeof ProjectObject>;

export const ProjectDeletionObject = z
  .object({
    object: z.literal('organization.project.deletion'),
    project_id: z.string(),
    name: z.string(),
    requested_at: z.number().nullable().describe('null: nobody has asked for it.'),
    deletes_at: z.number().describe('Until then the project can be restored.'),
    deletes: z
      .object({
        jobs: z.record(z.enum(JOB_STATUSES), z.number()),
        events: z.number(),
        checkpoints: z.number(),
        files: z.number(),
        uploads: z.number(),
        models: z.number(),
        sweeps: z.number(),
        evals: z.number(),
        eval_runs: z.number(),
        webhook_endpoints: z.number(),
        integrations: z.number(),
        api_keys: z.number(),
        members: z.number(),
        stored_bytes: z.number(),
      })
      .describe('How many of each, deleted jobs that can be restored among them.'),
    keeps: z.object({ audit_logs: z.number() }),
    at_least: z
      .array(z.string())
      .describe(
        'Names of `deletes` and `keeps` of which there may be more than the number: nothing is counted past 10,000 jobs or rows.',
      ),
  })
  .meta({ id: 'ProjectDeletionObject', description: 'What the deletion of a project takes.' });
export type ProjectDeletionObject = z.infer<typeof ProjectDeletionObject>;

export const ProjectUserObject = z
  .object({
    object: z.literal('organization.project.user'),
    id: z.string(),
    name: z.string(),
    email: z.string().nullable().describe('Its name, where that is an address.'),
    role: z.enum(ROLES),
    added_at: z.number(),
    graft: z.object({ keys: z.number(), last_used_at: z.number().nullable() }),
  })
  .meta({ id: 'ProjectUserObject', description: 'A member of a project.' });
export type ProjectUserObject = z.infer<typeof ProjectUserObject>;

export const OwnerFacts = z
  .object({ id: z.string(), name: z.string(), role: z.enum(ROLES), created_at: z.number() })
  .meta({ id: 'OwnerFacts' });
export type OwnerFacts = z.infer<typeof OwnerFacts>;

export const KeyOwner = z
  .union([
    z.object({ type: z.literal('user'), user: OwnerFacts }),
    z.object({ type: z.literal('service_account'), service_account: OwnerFacts }),
  ])
  .meta({
    id: 'KeyOwner',
    description: 'A member, or nobody: a service account is the key itself.',
  });
export type KeyOwner = z.infer<typeof KeyOwner>;

export const ProjectApiKeyObject = z
  .object({
    object: z.literal('organization.project.api_key'),
    id: z.string(),
    name: z.string(),
    redacted_value: z.string(),
    created_at: z.number(),
    last_used_at: z.number().nullable(),
    owner: KeyOwner,
    owner_project_access: z.enum(['active', 'inactive']),
    graft: z.object({ scopes: z.array(z.string()).readonly(), expires_at: z.number().nullable() }),
    value: z.exactOptional(z.string()).describe('The secret, only when it is made.'),
  })
  .meta({ id: 'ProjectApiKeyObject' });
export type ProjectApiKeyObject = z.infer<typeof ProjectApiKeyObject>;

export const AdminApiKeyObject = z
  .object({
    object: z.literal('organization.admin_api_key'),
    id: z.string(),
    name: z.string(),
    redacted_value: z.string(),
    created_at: z.number(),
    last_used_at: z.number().nullable(),
    expires_at: z.number().nullable(),
    owner: z.object({ type: z.literal('service_account'), id: z.string(), name: z.string() }),
    value: z.exactOptional(z.string()).describe('The secret, only when it is made.'),
  })
  .meta({ id: 'AdminApiKeyObject', description: 'A key with the scope `admin`.' });
export type AdminApiKeyObject = z.infer<typeof AdminApiKeyObject>;

export const AuditLogObject = z
  .object({
    object: z.literal('organization.audit_log'),
    id: z.string(),
    type: z.string().describe('"job.cancelled", "api_key.created", …'),
    effective_at: z.number(),
    project: z
      .object({ id: z.string(), name: z.string() })
      .nullable()
      .describe("null: the installation's own."),
    actor: z
      .object({
        type: z.literal('api_key'),
        api_key: z.object({
          id: z.string(),
          type: z.enum(['user', 'service_account']),
          user: z.exactOptional(z.object({ id: z.string(), name: z.string() })),
        }),
      })
      .nullable()
      .describe('null: the server itself, or a command on its machine.'),
    graft: z.object({
      target: z.string(),
      detail: z.record(z.string(), z.unknown()).readonly(),
      key_name: z.string().nullable(),
      ip_address: z.string().nullable(),
      request_id: z.string().nullable(),
    }),
  })
  .catchall(z.unknown())
  .meta({
    id: 'AuditLogObject',
    description: 'One deed. What it was done to is under the name of its type.',
  });
export type AuditLogObject = z.infer<typeof AuditLogObject>;

export const PoolSampleObject = z
  .object({
    at: z.number(),
    queued: z.number(),
    running: z.number(),
    slots: z.number(),
    free_slots: z.number(),
  })
  .meta({
    id: 'PoolSampleObject',
    description: 'What a pool was like at the beginning of a minute.',
  });
export type PoolSampleObject = z.infer<typeof PoolSampleObject>;

export const PoolGrantObject = z
  .object({ project_id: z.string(), project_name: z.string(), granted_at: z.number() })
  .meta({ id: 'PoolGrantObject' });
export type PoolGrantObject = z.infer<typeof PoolGrantObject>;

export const PoolObject = z
  .object({
    object: z.literal('graft.pool'),
    id: z.string(),
    open: z.boolean().describe('Every project may use it; else those that it is granted to.'),
    cordoned: z.boolean().describe('Nothing new is started on its workers.'),
    created_at: z.number(),
    queued: z
      .number()
      .describe('Jobs that wait, and how long they have: seconds, null where none waits.'),
    longest_wait: z.number().nullable(),
    median_wait: z.number().nullable(),
    running: z.number(),
    workers: z
      .object({
        online: z.number(),
        draining: z.number(),
        cordoned: z.number(),
        offline: z.number(),
      })
      .describe('Each is in one of the four: cordoned are those that are online but get nothing.'),
    slots: z.number().describe('Of workers that take jobs, and those of them that no job has.'),
    free_slots: z.number(),
    load: z
      .exactOptional(z.array(PoolSampleObject).readonly())
      .describe('One pool alone: its last hour, minute by minute.'),
    grants: z
      .exactOptional(z.array(PoolGrantObject).readonly())
      .describe("Projects that it is granted to: only the installation's administrators see them."),
  })
  .meta({ id: 'PoolObject', description: 'GET /v1/pools' });
export type PoolObject = z.infer<typeof PoolObject>;
