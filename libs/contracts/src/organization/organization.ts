// OpenAI's administration objects of /v1/organization, with Graft's own fields under `graft`.
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
      weight: z
        .number()
        .describe("Weight of the project when projects compete for a pool's slots."),
      limits: ProjectLimits.describe(
        'Limits of the project; absent fields are unlimited, except `priority`.',
      ),
      running_jobs: z.number(),
      queued_jobs: z.number(),
      pools: z.array(z.string()).readonly().describe('Pools that the project may use.'),
      deletes_at: z
        .number()
        .nullable()
        .describe(
          'Time at which the project will be deleted; null unless its deletion was requested.',
        ),
    }),
  })
  .meta({ id: 'ProjectObject' });
export type ProjectObject = z.infer<typeof ProjectObject>;

export const ProjectDeletionObject = z
  .object({
    object: z.literal('organization.project.deletion'),
    project_id: z.string(),
    name: z.string(),
    requested_at: z
      .number()
      .nullable()
      .describe('Time at which the deletion was requested; null if it was not.'),
    deletes_at: z
      .number()
      .describe('Time of the deletion; the project can be restored until then.'),
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
        responses: z.number(),
        batches: z.number(),
        webhook_endpoints: z.number(),
        integrations: z.number(),
        api_keys: z.number(),
        members: z.number(),
        stored_bytes: z.number(),
      })
      .describe(
        'Number of objects of each kind that will be deleted, including deleted jobs that can still be restored.',
      ),
    keeps: z.object({ audit_logs: z.number() }),
    at_least: z
      .array(z.string())
      .describe(
        'Fields of `deletes` and `keeps` whose count is a lower bound: counting stops at 10,000 jobs or rows.',
      ),
  })
  .meta({
    id: 'ProjectDeletionObject',
    description: 'Objects that the deletion of a project removes and keeps.',
  });
export type ProjectDeletionObject = z.infer<typeof ProjectDeletionObject>;

export const ProjectUserObject = z
  .object({
    object: z.literal('organization.project.user'),
    id: z.string(),
    name: z.string(),
    email: z
      .string()
      .nullable()
      .describe('Email address: the name of the user, if it is one; otherwise null.'),
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

const UserFacts = OwnerFacts.extend({
  email: z.string().describe('Email address: the name of the user, if it is one; otherwise empty.'),
}).meta({ id: 'UserFacts' });

export const KeyOwner = z
  .union([
    z.object({ type: z.literal('user'), user: UserFacts }),
    z.object({ type: z.literal('service_account'), service_account: OwnerFacts }),
  ])
  .meta({
    id: 'KeyOwner',
    description: 'Owner of a key: a member, or a service account, which stands for the key itself.',
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
    value: z
      .exactOptional(z.string())
      .describe('Secret of the key; returned only when the key is created.'),
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
    value: z
      .exactOptional(z.string())
      .describe('Secret of the key; returned only when the key is created.'),
  })
  .meta({ id: 'AdminApiKeyObject', description: 'API key with the scope `admin`.' });
export type AdminApiKeyObject = z.infer<typeof AdminApiKeyObject>;

export const AuditLogObject = z
  .object({
    object: z.literal('organization.audit_log'),
    id: z.string(),
    type: z.string().describe('Type of the action: `job.cancelled`, `api_key.created`, …'),
    effective_at: z.number(),
    project: z
      .object({ id: z.string(), name: z.string() })
      .nullable()
      .describe('Project of the action; null for actions on the installation.'),
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
      .describe(
        'API key that performed the action; null for the server itself or a command on its machine.',
      ),
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
    description: 'Audit log entry. Details of the target are in a field named after the type.',
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
    description: 'Load of a pool at the start of a minute.',
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
    open: z
      .boolean()
      .describe('Whether every project may use the pool; otherwise only projects with a grant.'),
    cordoned: z
      .boolean()
      .describe('Whether the pool is cordoned: its workers start no new jobs or chats.'),
    created_at: z.number(),
    queued: z
      .number()
      .describe(
        'Number of queued jobs. `longest_wait` and `median_wait` are their waiting times in seconds; null if the queue is empty.',
      ),
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
      .describe(
        'Number of workers by state. Each worker counts once; cordoned workers are online but get no new jobs.',
      ),
    slots: z
      .number()
      .describe('Slots of workers that accept jobs. `free_slots` is the number of unused ones.'),
    free_slots: z.number(),
    load: z
      .exactOptional(z.array(PoolSampleObject).readonly())
      .describe('Load of the last hour, per minute. Absent in lists.'),
    grants: z
      .exactOptional(z.array(PoolGrantObject).readonly())
      .describe("Projects that may use the pool; shown only to the installation's administrators."),
  })
  .meta({ id: 'PoolObject', description: 'Pool of workers.' });
export type PoolObject = z.infer<typeof PoolObject>;
