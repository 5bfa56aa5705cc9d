import type { ApiKeyObject, OwnKeyObject, Scope } from '@graft/contracts';
import { useQuery } from '@tanstack/react-query';
import { createContext, useContext } from 'react';
import { api } from './api.js';

/** The key of this tab as the server knows it; null until it has said so. */
export const OwnKey = createContext<OwnKeyObject | null>(null);

/** The key of this session, while somebody is signed in. */
export function useOwnKey(isIn: boolean): OwnKeyObject | null {
  const { data } = useQuery({ queryKey: ['own-key'], queryFn: api.ownKey, enabled: isIn });
  return data ?? null;
}

/** Scopes of `needed` that a key lacks. While nothing is known of the key, the server is left to refuse. */
export function lacking(key: ApiKeyObject | null, needed: readonly Scope[]): readonly Scope[] {
  if (key === null || key.scopes.includes('admin')) return [];
  return needed.filter((scope) => !key.scopes.includes(scope));
}

/** Whether this tab's key has a scope: what it may not do is not offered. */
export function useMay(): (...needed: Scope[]) => boolean {
  const key = useContext(OwnKey);
  return (...needed) => lacking(key, needed).length === 0;
}
