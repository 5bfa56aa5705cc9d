import { useSyncExternalStore } from 'react';

const SLOT = 'graft.api_key';
const CHANGED = 'graft:session';
let refused = false;
/** Key from a link, if it differs from the key of this session. */
let offered: string | null = null;
/** Whether the key came from a link, and other tabs have not been asked yet whether they use another key. */
let isFromLink = false;

const changed = (): boolean => dispatchEvent(new Event(CHANGED));

export const apiKey = (): string | null => sessionStorage.getItem(SLOT);

export function signIn(key: string): void {
  sessionStorage.setItem(SLOT, key.trim());
  refused = false;
  isFromLink = false;
  changed();
}

function forget(): void {
  sessionStorage.removeItem(SLOT);
  changed();
}

/** Handles a key that the server does not know. Ignored if another key has replaced it. */
export function keyRefused(key: string | null): void {
  if (key !== apiKey()) return;
  // The key in use does not work, so replacing it with the link's key loses nothing.
  if (offered !== null) return acceptOffered();
  refused = key !== null;
  forget();
}

/**
 * Reads the API key of this tab from the address. `graft up` prints a link with the key in its
 * fragment (`/#key=sk-…`); a fragment never reaches a server or its logs. The key is removed from
 * the address after it is read. If another key is in use, the link's key is only offered, because
 * the user's next action must not end up in the project of the link's creator.
 */
export function takeKeyFromAddress(): void {
  const match = /(?:^#|&)key=([^&]+)/.exec(location.hash);
  if (!match?.[1]) return;
  history.replaceState(null, '', location.pathname + location.search);
  const key = unescaped(match[1]).trim();
  const own = apiKey();
  if (own === key) return;
  if (own !== null) return offer(key);
  signIn(key);
  isFromLink = true;
}

function offer(key: string): void {
  offered = key;
  changed();
}

/** Switches the session to the key of the link. */
export function acceptOffered(): void {
  if (offered === null) return;
  const key = offered;
  offered = null;
  signIn(key);
  location.reload();
}

export function declineOffered(): void {
  offered = null;
  changed();
}

export const useOffered = (): boolean => useSyncExternalStore(onSession, () => offered !== null);

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // A lone % sign means that the key was never escaped.
  }
}

type Word = { readonly ask: true } | { readonly key: string } | { readonly out: true };
let tabs: BroadcastChannel | null = null;

/**
 * Shares the key among tabs of this origin, so that a link opened in a new tab works. Tabs also
 * sign out together.
 */
export function shareBetweenTabs(): void {
  tabs = new BroadcastChannel('graft.session');
  tabs.addEventListener('message', ({ data }: MessageEvent<Word>) => {
    const key = apiKey();
    if ('out' in data) forget();
    else if ('key' in data) receiveKey(data.key);
    else if ('ask' in data && key !== null) tabs?.postMessage({ key } satisfies Word);
  });
  if (apiKey() === null || isFromLink) tabs.postMessage({ ask: true } satisfies Word);
}

/** Handles a key received from another tab. */
function receiveKey(otherKey: string): void {
  const own = apiKey();
  if (own === null) return signIn(otherKey);
  if (!isFromLink || own === otherKey) return;
  signIn(otherKey);
  offer(own);
}

export function signOut(): void {
  refused = false;
  offered = null;
  tabs?.postMessage({ out: true } satisfies Word);
  forget();
}

/** Registers a callback for changes of the session. Returns a function that removes it. */
export function onSession(notify: () => void): () => void {
  addEventListener(CHANGED, notify);
  return () => removeEventListener(CHANGED, notify);
}

export type SessionState = 'in' | 'out' | 'refused';

export const useSession = (): SessionState =>
  useSyncExternalStore(onSession, () => (apiKey() !== null ? 'in' : refused ? 'refused' : 'out'));
