import { useEffect, useState, useSyncExternalStore } from 'react';
import { isVisible, onVisibility } from './visibility.js';

// Whether the server answers at all. A process that is frozen takes connections and says nothing, and a page
// that asks for nothing would never know: so every page asks for one small thing again and again.

const PROBE_MS = 5000;
const PROBE_WHILE_LOST_MS = 1000;
const PATIENCE_MS = 3000;
const CHANGED = 'graft:contact';
const BACK = 'graft:back';

let lastAnswer = Date.now();
let lost = false;

/** The server answered something. */
export function answered(): void {
  lastAnswer = Date.now();
  if (!lost) return;
  lost = false;
  dispatchEvent(new Event(CHANGED));
  dispatchEvent(new Event(BACK));
}

function unanswered(): void {
  if (lost) return;
  lost = true;
  dispatchEvent(new Event(CHANGED));
}

/** Calls back whenever the server answers again, until the returned function is called. */
export function onBack(back: () => void): () => void {
  addEventListener(BACK, back);
  return () => removeEventListener(BACK, back);
}

/** Asks for the smallest thing there is; a proxy's answer for a server that is down is none. */
export async function probe(): Promise<void> {
  try {
    const init: RequestInit = { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) };
    const { ok } = await fetch('/healthz', init);
    if (ok) answered();
    else unanswered();
  } catch {
    unanswered();
  }
}

function watch(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const round = async () => {
    clearTimeout(timer);
    if (isVisible()) await probe();
    clearTimeout(timer);
    if (!over) timer = setTimeout(() => void round(), lost ? PROBE_WHILE_LOST_MS : PROBE_MS);
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

export const useLost = (): boolean => useSyncExternalStore(subscribe, () => lost);

/** Keeps asking while mounted; seconds since the last answer, or null while the server answers. */
export function useContact(): number | null {
  useEffect(watch, []);
  const isLost = useLost();
  const [, tick] = useState(0);
  useEffect(() => {
    if (!isLost) return;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [isLost]);
  return isLost ? (Date.now() - lastAnswer) / 1000 : null;
}
