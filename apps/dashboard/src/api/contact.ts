import { useEffect, useState, useSyncExternalStore } from 'react';
import { isVisible, onVisibility } from '../browser/visibility.js';

// Whether the server answers at all. A process that is frozen takes connections and says nothing, and a page
// that asks for nothing would never know: so every page asks for one small thing again and again.

const PROBE_MS = 5000;
const PROBE_WHILE_LOST_MS = 1000;
const PATIENCE_MS = 3000;
const CHANGED = 'graft:contact';
const BACK = 'graft:back';

/** When the first question was asked that nobody answered; null while the server answers. */
let silentSince: number | null = null;

/** The server answered something. */
export function answered(): void {
  if (silentSince === null) return;
  silentSince = null;
  dispatchEvent(new Event(CHANGED));
  dispatchEvent(new Event(BACK));
}

function unanswered(asked: number): void {
  if (silentSince !== null) return;
  silentSince = asked;
  dispatchEvent(new Event(CHANGED));
}

/** Calls back whenever the server answers again, until the returned function is called. */
export function onBack(back: () => void): () => void {
  addEventListener(BACK, back);
  return () => removeEventListener(BACK, back);
}

/** Resolves when the server answers, which may be now. */
export const whenBack = (): Promise<void> =>
  new Promise((resolve) => {
    if (silentSince === null) return resolve();
    const unlisten = onBack(() => {
      unlisten();
      resolve();
    });
  });

/** Asks for the smallest thing there is; a proxy's answer for a server that is down is none. */
export async function probe(): Promise<void> {
  const asked = Date.now();
  try {
    const init: RequestInit = { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) };
    const { ok } = await fetch('/healthz', init);
    if (ok) answered();
    else unanswered(asked);
  } catch {
    unanswered(asked);
  }
}

function watch(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const round = async () => {
    clearTimeout(timer);
    if (isVisible()) await probe();
    clearTimeout(timer);
    if (!over)
      timer = setTimeout(() => void round(), silentSince === null ? PROBE_MS : PROBE_WHILE_LOST_MS);
  };
  void round();
  const unwatch = onVisibility((visible) => visible && void round());
  return () => {
    over = true;
    clearTimeout(timer);
    unwatch();
  };
}

function subscribe(notify: () => void): () => void {
  addEventListener(CHANGED, notify);
  return () => removeEventListener(CHANGED, notify);
}

export const isLost = (): boolean => silentSince !== null;
export const useLost = (): boolean => useSyncExternalStore(subscribe, isLost);

/** Keeps asking while mounted; for how many seconds it was in vain, or null while the server answers. */
export function useContact(): number | null {
  useEffect(watch, []);
  const isLost = useLost();
  const [, tick] = useState(0);
  useEffect(() => {
    if (!isLost) return;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [isLost]);
  return silentSince === null ? null : (Date.now() - silentSince) / 1000;
}
