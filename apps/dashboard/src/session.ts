import { useSyncExternalStore } from 'react';

const SLOT = 'graft.api_key';
const CHANGED = 'graft:session';
let refused = false;

const changed = (): boolean => dispatchEvent(new Event(CHANGED));

export const apiKey = (): string | null => sessionStorage.getItem(SLOT);

export function signIn(key: string): void {
  sessionStorage.setItem(SLOT, key.trim());
  refused = false;
  changed();
}

function forget(): void {
  sessionStorage.removeItem(SLOT);
  changed();
}

/** The server does not know `key`; ignored when another key has taken its place meanwhile. */
export function keyRefused(key: string | null): void {
  if (key !== apiKey()) return;
  refused = key !== null;
  forget();
}

/**
 * The API key of this tab. `graft up` prints a link whose fragment carries it (`/#key=sk-…`); a
 * fragment never reaches a server or its logs. It is taken once and removed from the address.
 */
export function takeKeyFromAddress(): void {
  const match = /(?:^#|&)key=([^&]+)/.exec(location.hash);
  if (!match?.[1]) return;
  history.replaceState(null, '', location.pathname + location.search);
  signIn(unescaped(match[1]));
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % sign: then it was never escaped
  }
}

type Word = { readonly ask: true } | { readonly key: string } | { readonly out: true };
let tabs: BroadcastChannel | null = null;

/** Lets a link opened in a new tab work: tabs of this origin hand the key on, and sign out together. */
export function shareBetweenTabs(): void {
  tabs = new BroadcastChannel('graft.session');
  tabs.addEventListener('message', ({ data }: MessageEvent<Word>) => {
    const key = apiKey();
    if ('out' in data) forget();
    else if ('key' in data && key === null) signIn(data.key);
    else if ('ask' in data && key !== null) tabs?.postMessage({ key } satisfies Word);
  });
  if (apiKey() === null) tabs.postMessage({ ask: true } satisfies Word);
}

export function signOut(): void {
  refused = false;
  tabs?.postMessage({ out: true } satisfies Word);
  forget();
}

function subscribe(notify: () => void): () => void {
  addEventListener(CHANGED, notify);
  return () => removeEventListener(CHANGED, notify);
}

export type SessionState = 'in' | 'out' | 'refused';

export const useSession = (): SessionState =>
  useSyncExternalStore(subscribe, () => (apiKey() !== null ? 'in' : refused ? 'refused' : 'out'));
