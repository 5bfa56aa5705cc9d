import type {
  ApiKeyObject,
  AuditLogObject,
  LimitsObject,
  OwnKeyObject,
  Page,
  ProjectApiKeyObject,
  ProjectDeletionObject,
  ProjectObject,
  ProjectUserObject,
  Role,
} from '@graft/contracts';
import { all, get, post, remove } from './request.js';

const project = (id: string): string => `/organization/projects/${encodeURIComponent(id)}`;

export const projectsApi = {
  projects: () => all<ProjectObject>('/organization/projects?include_archived=true'),
  project: (id: string) => get<ProjectObject>(project(id)),
  createProject: (body: unknown) => post<ProjectObject>('/organization/projects', body),
  modifyProject: (id: string, body: unknown) => post<ProjectObject>(project(id), body),
  archiveProject: (id: string) => post<ProjectObject>(`${project(id)}/archive`),
  projectDeletion: (id: string) => get<ProjectDeletionObject>(`${project(id)}/deletion`),
  deleteProject: (id: string) => remove(project(id)),
  restoreProject: (id: string) => post<ProjectObject>(`${project(id)}/restore`),
  limits: () => get<LimitsObject>('/limits'),
  limitsOf: (id: string) => get<LimitsObject>(`${project(id)}/limits`),
  members: (id: string) => all<ProjectUserObject>(`${project(id)}/users`),
  addMember: (id: string, name: string, role: Role) =>
    post<ProjectUserObject>(`${project(id)}/users`, { name, role }),
  setRole: (id: string, member: string, role: Role) =>
    post<ProjectUserObject>(`${project(id)}/users/${member}`, { role }),
  removeMember: (id: string, member: string) => remove(`${project(id)}/users/${member}`),
  projectKeys: (id: string) => all<ProjectApiKeyObject>(`${project(id)}/api_keys`),
  createProjectKey: (id: string, body: unknown) =>
    post<ProjectApiKeyObject>(`${project(id)}/api_keys`, body),
  revokeProjectKey: (id: string, key: string) => remove(`${project(id)}/api_keys/${key}`),
  ownKey: () => get<OwnKeyObject>('/keys/me'),
  keys: () => get<Page<ApiKeyObject>>('/keys'),
  createKey: (name: string, scopes: readonly string[]) =>
    post<ApiKeyObject>('/keys', { name, scopes }),
  revokeKey: (id: string) => remove(`/keys/${id}`),
  auditLog: (query: URLSearchParams) =>
    get<Page<AuditLogObject>>(`/organization/audit_logs?${query.toString()}`),
};
