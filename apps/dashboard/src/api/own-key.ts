import type { ApiKeyObject, OwnKeyObject, Scope } from '@graft/contracts';
import { useQuery } from '@tanstack/react-query';
import { createContext, useContext } from 'react';
import { api } from './api.js';

/** The API key of this tab, as the server describes it. Null until loaded. */
export const OwnKey = createContext<OwnKeyObject | null>(null);

/** Loads the API key of this session while signed in. */
export function useOwnKey(isIn: boolean): OwnKeyObject | null {
  const { data } = useQuery({ queryKey: ['own-key'], queryFn: api.ownKey, enabled: isIn });
  return data ?? null;
}

/**
 * Returns the scopes of `needed` that a key does not have. Empty while the key is unknown, so that
 * the server decides.
 */
export function missingScopes(
  key: ApiKeyObject | null,
  needed: readonly Scope[],
): readonly Scope[] {
  if (key === null || key.scopes.includes('admin')) return [];
  return needed.filter((scope) => !key.scopes.includes(scope));
}

/**
 * Returns a function that tests whether this tab's key has all given scopes. Pages hide actions that the key
 * cannot use.
 */
export function useMay(): (...needed: Scope[]) => boolean {
  const key = useContext(OwnKey);
  return (...needed) => missingScopes(key, needed).length === 0;
}

/**
 * Like `useMay`, but the function returns false until the key is known. Guards requests, which the server
 * would refuse with an error.
 */
export function useMayRequest(): (...needed: Scope[]) => boolean {
  const key = useContext(OwnKey);
  return (...needed) => key !== null && missingScopes(key, needed).length === 0;
}
