import { useSyncExternalStore, type MouseEvent } from 'react';

const CHANGED = 'graft:navigated';

/** Goes to a page of the dashboard without loading it anew; the address stays shareable. */
export function go(path: string): void {
  history.pushState(null, '', path);
  dispatchEvent(new Event(CHANGED));
  scrollTo(0, 0);
}

/** Changes the address without a step in the history (a filter being typed). */
export function replace(path: string): void {
  history.replaceState(null, '', path);
  dispatchEvent(new Event(CHANGED));
}

function subscribe(changed: () => void): () => void {
  addEventListener('popstate', changed);
  addEventListener(CHANGED, changed);
  return () => {
    removeEventListener('popstate', changed);
    removeEventListener(CHANGED, changed);
  };
}

export const usePath = (): string =>
  useSyncExternalStore(subscribe, () => location.pathname + location.search);

/** Props of an ordinary link that navigates in place but still opens in a new tab on demand. */
export const linkTo = (path: string) => ({
  href: path,
  onClick: (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(path);
  },
});
