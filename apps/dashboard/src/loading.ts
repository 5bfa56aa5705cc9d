import { useCallback, useEffect, useRef, useState } from 'react';
import { NoAnswer } from './api.js';
import { onBack } from './contact.js';
import { isVisible } from './visibility.js';

export interface Loaded<T> {
  readonly value: T | null;
  readonly error: Error | null;
  readonly reload: () => void;
  readonly set: (update: (value: T) => T) => void;
}

/**
 * Fetches when mounted, on `reload` and when a lost server is back, and again every `everyMs` while the tab is
 * visible. Only the latest answer counts. That there is none is said once for the whole page, not here.
 */
export function useLoaded<T>(fetcher: () => Promise<T>, everyMs = 0): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const latest = useRef(fetcher);
  latest.current = fetcher;
  const alive = useRef(true);

  const asked = useRef(0);
  const waiting = useRef(0);
  const reload = useCallback(() => {
    const number = ++asked.current;
    waiting.current += 1;
    latest
      .current()
      .then(
        (fetched) => {
          if (!alive.current || number !== asked.current) return;
          setValue(fetched);
          setError(null);
        },
        (failure: Error) => {
          if (!alive.current || number !== asked.current) return;
          if (!(failure instanceof NoAnswer)) setError(failure);
        },
      )
      .finally(() => (waiting.current -= 1));
  }, []);

  useEffect(() => {
    alive.current = true;
    reload();
    // A server that does not answer gets no second question of the kind: a browser keeps six open.
    const again = () => isVisible() && waiting.current === 0 && reload();
    const timer = everyMs > 0 ? setInterval(again, everyMs) : undefined;
    const unlisten = onBack(reload);
    return () => {
      alive.current = false;
      unlisten();
      clearInterval(timer);
    };
  }, [reload, everyMs]);

  const set = useCallback(
    (update: (value: T) => T) => setValue((now) => (now === null ? now : update(now))),
    [],
  );
  return { value, error, reload, set };
}
