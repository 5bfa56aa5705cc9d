import type { OwnKeyObject, ProjectObject, ProjectUserObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError } from '../cli-error.js';
import { begins, typedStart } from './short-id.js';
import { GRAFT } from '../called.js';

/** Flag and description of the project option. */
export const PROJECT = [
  '--project <project>',
  "id or name of the project (default: the key's own)",
] as const;

/** Finds the id of a project by its id or name. Default: the project of the key. */
export async function findProjectId(
  api: Api,
  name: string | undefined,
  include: { readonly archived?: boolean } = {},
): Promise<string> {
  if (name === undefined) return (await api.get<OwnKeyObject>('/keys/me')).project.id;
  if (name.startsWith('proj-')) return name;
  const query = include.archived ? '?include_archived=true' : '';
  const all = await api.all<ProjectObject>(`/organization/projects${query}`);
  return only(all, name, 'project', `${GRAFT} projects`);
}

/** Finds the id of a project's member by id or name. */
export async function findMemberId(api: Api, project: string, name: string): Promise<string> {
  if (name.startsWith('member-')) return name;
  const all = await api.all<ProjectUserObject>(`${projectPath(project)}/users`);
  return only(all, name, 'member', `${GRAFT} members`);
}

export const projectPath = (id: string): string =>
  `/organization/projects/${encodeURIComponent(id)}`;

export function only(
  all: readonly { readonly id: string; readonly name: string }[],
  name: string,
  kind: string,
  see: string,
): string {
  const exact = all.find(({ id }) => id === name);
  if (exact) return exact.id;
  const called = all.filter((one) => one.name === name);
  const found = called.length > 0 ? called : all.filter(({ id }) => begins(id, typedStart(name)));
  const [first] = found;
  if (first === undefined) throw new CliError(`no ${kind} named ${name}; see ${see}`);
  if (found.length > 1)
    throw new CliError(
      `${name} matches several ${kind}s; use an id: ${found.map(({ id }) => id).join(', ')}`,
    );
  return first.id;
}
