// API keys used in this browser session, so that the user can switch between projects. Like the key
// in use, they are kept until the last tab is closed.
import type { OwnKeyObject } from '@graft/contracts';
import { apiKey } from '../api/session.js';

export interface SavedKey {
  readonly key: string;
  readonly project: string;
  /** Name of the key. */
  readonly name: string;
}

const SLOT = 'graft.saved_keys';

/** Returns the keys of this session, in the order of their first use. */
export function savedKeys(): readonly SavedKey[] {
  try {
    return JSON.parse(sessionStorage.getItem(SLOT) ?? '[]') as SavedKey[];
  } catch {
    return [];
  }
}

/** Remembers the key in use, once the server has named its project. */
export function rememberKey({ project, name }: OwnKeyObject): void {
  const key = apiKey();
  if (key === null) return;
  const others = savedKeys().filter((one) => one.key !== key && one.project !== project.name);
  const all = [...others, { key, project: project.name, name }];
  sessionStorage.setItem(SLOT, JSON.stringify(all));
}

export const forgetKeys = (): void => sessionStorage.removeItem(SLOT);
