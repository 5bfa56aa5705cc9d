// Scopes of API keys and roles of project members. No zod: the dashboard bundles this file.

/** Scopes within the key's own project; they are the default of a new key. */
export const PROJECT_SCOPES = [
  'jobs:read',
  'jobs:write',
  'files:read',
  'files:write',
  'models:read',
  'models:write',
] as const;

/**
 * All scopes. `project:admin` manages the key's own project: its members, keys, webhooks and audit log. `metrics:read` reads
 * Prometheus metrics of the whole installation. `admin` administers the installation and includes all other scopes.
 */
export const SCOPES = [...PROJECT_SCOPES, 'project:admin', 'metrics:read', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

/** Roles of project members: owners manage the project, members run jobs, viewers only read. */
export const ROLES = ['owner', 'member', 'viewer'] as const;

export type Role = (typeof ROLES)[number];

/** Maximum scopes of a member's keys, by role. */
export const ROLE_SCOPES: Readonly<Record<Role, readonly Scope[]>> = {
  owner: [...PROJECT_SCOPES, 'project:admin'],
  member: PROJECT_SCOPES,
  viewer: ['jobs:read', 'files:read', 'models:read'],
};
