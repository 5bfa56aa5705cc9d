import type { ApiKeyObject, OwnKeyObject, Scope } from '@graft/contracts';
import { createContext, useContext, useEffect, useState } from 'react';
import { api } from './api.js';
import { onBack } from './contact.js';

/** The key of this tab as the server knows it; null until it has said so. */
export const OwnKey = createContext<OwnKeyObject | null>(null);

/** Asks for the key of each session anew. */
export function useOwnKey(session: string): OwnKeyObject | null {
  const [key, setKey] = useState<OwnKeyObject | null>(null);
  useEffect(() => {
    let left = false;
    const ask = () =>
      void api.ownKey().then(
        (own) => left || setKey(own),
        () => undefined,
      );
    setKey(null);
    if (session === 'in') ask();
    const unlisten = onBack(() => session === 'in' && ask());
    return () => {
      left = true;
      unlisten();
    };
  }, [session]);
  return key;
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
