import { useEffect, useState, useSyncExternalStore } from 'react';
import { isVisible, onVisibility } from '../browser/visibility.js';

// Detects whether the server responds. A frozen process accepts connections without responding, and
// a page that sends no requests would not notice. Every page therefore polls a small endpoint.

const PROBE_MS = 5000;
const PROBE_WHILE_LOST_MS = 1000;
const PATIENCE_MS = 3000;
const CHANGED = 'graft:contact';
const BACK = 'graft:back';

/** Time of the first request without a response. Null while the server responds. */
let silentSince: number | null = null;

/** Records that the server responded. */
export function answered(): void {
  if (silentSince === null) return;
  silentSince = null;
  dispatchEvent(new Event(CHANGED));
  dispatchEvent(new Event(BACK));
}

function unanswered(sentAt: number): void {
  if (silentSince !== null) return;
  silentSince = sentAt;
  dispatchEvent(new Event(CHANGED));
}

/** Registers a callback for when the server responds again. Returns a function that removes it. */
export function onBack(back: () => void): () => void {
  addEventListener(BACK, back);
  return () => removeEventListener(BACK, back);
}

/** Resolves when the server responds, which may be immediately. */
export const whenBack = (): Promise<void> =>
  new Promise((resolve) => {
    if (silentSince === null) return resolve();
    const unlisten = onBack(() => {
      unlisten();
      resolve();
    });
  });

/** Requests a small endpoint. A gateway error from a proxy does not count as a response. */
export async function probe(): Promise<void> {
  const sentAt = Date.now();
  try {
    const init: RequestInit = { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) };
    const { ok } = await fetch('/healthz', init);
    if (ok) answered();
    else unanswered(sentAt);
  } catch {
    unanswered(sentAt);
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

/**
 * Polls the server while mounted. Returns the seconds since the server stopped responding; null
 * while it responds.
 */
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
