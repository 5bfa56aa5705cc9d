import { useSyncExternalStore } from 'react';

const SLOT = 'graft.api_key';
const CHANGED = 'graft:session';
let refused = false;
/** A link's key that is not the one of this session. */
let offered: string | null = null;
/** Whether the key came with a link, and nobody was asked yet whether another is in use. */
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

/** The server does not know `key`; ignored when another key has taken its place meanwhile. */
export function keyRefused(key: string | null): void {
  if (key !== apiKey()) return;
  // Nothing is lost by the link's then.
  if (offered !== null) return acceptOffered();
  refused = key !== null;
  forget();
}

/**
 * The API key of this tab. `graft up` prints a link whose fragment carries it (`/#key=sk-…`); a
 * fragment never reaches a server or its logs. It is taken once and removed from the address. Where another key is in
 * use it is only offered: what a person does next must not land in the project of whoever made the link.
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

/** From now on the session is that of the link. */
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
    else if ('key' in data) heard(data.key);
    else if ('ask' in data && key !== null) tabs?.postMessage({ key } satisfies Word);
  });
  if (apiKey() === null || isFromLink) tabs.postMessage({ ask: true } satisfies Word);
}

/** The key of another tab. */
function heard(theirs: string): void {
  const own = apiKey();
  if (own === null) return signIn(theirs);
  if (!isFromLink || own === theirs) return;
  signIn(theirs);
  offer(own);
}

export function signOut(): void {
  refused = false;
  offered = null;
  tabs?.postMessage({ out: true } satisfies Word);
  forget();
}

/** Calls back when the session changes, until the returned function is called. */
export function onSession(notify: () => void): () => void {
  addEventListener(CHANGED, notify);
  return () => removeEventListener(CHANGED, notify);
}

export type SessionState = 'in' | 'out' | 'refused';

export const useSession = (): SessionState =>
  useSyncExternalStore(onSession, () => (apiKey() !== null ? 'in' : refused ? 'refused' : 'out'));
