const SLOT = 'graft.api_key';

/**
 * The API key of this tab. `graft up` prints a link whose fragment carries it (`/#key=sk-…`); a
 * fragment never reaches a server or its logs. It is taken once and removed from the address.
 */
export function takeKeyFromAddress(): void {
  const match = /(?:^#|&)key=([^&]+)/.exec(location.hash);
  if (!match?.[1]) return;
  sessionStorage.setItem(SLOT, decodeURIComponent(match[1]));
  history.replaceState(null, '', location.pathname + location.search);
}

export const apiKey = (): string | null => sessionStorage.getItem(SLOT);
export const signIn = (key: string): void => sessionStorage.setItem(SLOT, key.trim());

export function signOut(): void {
  sessionStorage.removeItem(SLOT);
  location.assign('/');
}
