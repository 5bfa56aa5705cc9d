import { useCallback, useEffect, useRef, useState } from 'react';
import { isVisible } from './visibility.js';

export interface Loaded<T> {
  readonly value: T | null;
  readonly error: Error | null;
  readonly reload: () => void;
  readonly set: (update: (value: T) => T) => void;
}

/** Fetches when mounted and on `reload`, and again every `everyMs` while the tab is visible. Only the latest answer counts. */
export function useLoaded<T>(fetcher: () => Promise<T>, everyMs = 0): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const latest = useRef(fetcher);
  latest.current = fetcher;
  const alive = useRef(true);

  const asked = useRef(0);
  const reload = useCallback(() => {
    const number = ++asked.current;
    latest.current().then(
      (fetched) => {
        if (!alive.current || number !== asked.current) return;
        setValue(fetched);
        setError(null);
      },
      (failure: Error) => alive.current && setError(failure),
    );
  }, []);

  useEffect(() => {
    alive.current = true;
    reload();
    const timer = everyMs > 0 ? setInterval(() => isVisible() && reload(), everyMs) : undefined;
    return () => {
      alive.current = false;
      clearInterval(timer);
    };
  }, [reload, everyMs]);

  const set = useCallback(
    (update: (value: T) => T) => setValue((now) => (now === null ? now : update(now))),
    [],
  );
  return { value, error, reload, set };
}
