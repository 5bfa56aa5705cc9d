import type {
  AdminApiKeyObject,
  ApiKeyObject,
  KeyOwner,
  ProjectApiKeyObject,
  Role,
} from '@graft/contracts';
import type { ApiKey } from '../../database/entities/tenancy.js';
import { unix, unixOrNull } from '../../ids.js';

/** An API key with its member's name. */
export type KeyRow = ApiKey & {
  readonly member_name: string | null;
  readonly member_role: Role | null;
  readonly member_since: Date | null;
};

export function keyObject(key: KeyRow, secret?: string): ApiKeyObject {
  const { member_id: id, member_name: name, member_role: role } = key;
  return {
    object: 'graft.api_key',
    id: key.id,
    name: key.name,
    scopes: key.scopes,
    created_at: unix(key.created_at),
    last_used_at: unixOrNull(key.last_used_at),
    expires_at: unixOrNull(key.expires_at),
    member: id !== null && name !== null && role !== null ? { id, name, role } : null,
    ...(secret === undefined ? {} : { secret }),
  };
}

/** Converts a key to OpenAI's object for owners of a project. */
export function projectKeyObject(key: KeyRow, secret?: string): ProjectApiKeyObject {
  return {
    object: 'organization.project.api_key',
    id: key.id,
    name: key.name,
    redacted_value: redacted(key),
    created_at: unix(key.created_at),
    last_used_at: unixOrNull(key.last_used_at),
    owner: ownerOf(key),
    owner_project_access: 'active',
    graft: { scopes: key.scopes, expires_at: unixOrNull(key.expires_at) },
    ...(secret === undefined ? {} : { value: secret }),
  };
}

/** Converts a key to OpenAI's object for administrators. */
export function adminKeyObject(key: KeyRow, secret?: string): AdminApiKeyObject {
  return {
    object: 'organization.admin_api_key',
    id: key.id,
    name: key.name,
    redacted_value: redacted(key),
    created_at: unix(key.created_at),
    last_used_at: unixOrNull(key.last_used_at),
    expires_at: unixOrNull(key.expires_at),
    owner: { type: 'service_account', id: key.id, name: key.name },
    ...(secret === undefined ? {} : { value: secret }),
  };
}

function ownerOf(key: KeyRow): KeyOwner {
  const { member_id: id, member_name: name, member_role: role, member_since: since } = key;
  if (id !== null && name !== null && role !== null && since !== null)
    return {
      type: 'user',
      // OpenAI's type of the email has no null.
      user: { id, name, email: name.includes('@') ? name : '', role, created_at: unix(since) },
    };
  const manages = key.scopes.some((scope) => scope === 'project:admin' || scope === 'admin');
  return {
    type: 'service_account',
    service_account: {
      id: key.id,
      name: key.name,
      role: manages ? 'owner' : 'member',
      created_at: unix(key.created_at),
    },
  };
}

/** Redacted secret. The id is not secret, and it lets the user find the key that leaked. */
const redacted = ({ id }: ApiKey): string => `sk-graft-${id}-…`;
