// What a key may do, and a member of a project. Without zod, since the dashboard's bundle has it.

/** What a key may do with its own project, and what it has unless it says otherwise. */
export const PROJECT_SCOPES = [
  'jobs:read',
  'jobs:write',
  'files:read',
  'files:write',
  'models:read',
  'models:write',
] as const;

/**
 * `project:admin` manages the key's own project: its members, keys, webhooks and audit log. `metrics:read` is for Prometheus and
 * shows the whole installation; `admin` is the installation's administrator and has them all.
 */
export const SCOPES = [...PROJECT_SCOPES, 'project:admin', 'metrics:read', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

/** What a member of a project may do at most: owners manage it, members run jobs, viewers look. */
export const ROLES = ['owner', 'member', 'viewer'] as const;

export type Role = (typeof ROLES)[number];

/** Scopes of a member's keys go no further than these. */
export const ROLE_SCOPES: Readonly<Record<Role, readonly Scope[]>> = {
  owner: [...PROJECT_SCOPES, 'project:admin'],
  member: PROJECT_SCOPES,
  viewer: ['jobs:read', 'files:read', 'models:read'],
};
