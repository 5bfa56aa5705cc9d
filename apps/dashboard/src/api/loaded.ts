// Cache of responses, keyed by request. Pages share it, so that a page that is opened again is
// shown immediately.
import {
  keepPreviousData,
  QueryClient,
  QueryClientProvider,
  useQuery,
  useQueryClient,
  type QueryKey,
} from '@tanstack/react-query';
import {
  createElement,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
  type ReactNode,
} from 'react';
import { NoAnswer } from './request.js';
import { onBack } from './contact.js';
import { apiKey, onSession } from './session.js';

/** Requests are not retried here; contact.ts detects outages for the whole page. */
const client = (): QueryClient =>
  new QueryClient({
    defaultOptions: {
      queries: {
        retry: false,
        networkMode: 'always',
        refetchOnWindowFocus: false,
        refetchOnReconnect: false,
      },
    },
  });

/**
 * Provides the response cache of one session. Another key may have other rights, so a new session
 * remounts everything below. When the server is back, everything shown is requested again.
 */
export function Answers({ children }: { children: ReactNode }) {
  const key = useSyncExternalStore(onSession, apiKey);
  const queries = useMemo(client, [key]);
  useEffect(() => onBack(() => void queries.invalidateQueries()), [queries]);
  return createElement(QueryClientProvider, { key, client: queries }, children);
}

export interface Loaded<T> {
  readonly value: T | null;
  readonly error: Error | null;
  readonly reload: () => void;
  readonly set: (update: (value: T) => T) => void;
}

/**
 * Loads and caches what `fetcher` returns for a key. `fetcher` receives the current value. The
 * request is sent when mounted, on `reload`, when the server is back, and every `everyMs` while the
 * tab is visible; never while one is pending. `everyMs` may depend on the last value (0 stops
 * polling). With `keeps`, the value of the previous key stays until the new one arrives. An outage
 * is not an error here; the banner reports it once for the whole page.
 */
export function useLoaded<T>(
  key: QueryKey,
  fetcher: (now: () => T | undefined) => Promise<T>,
  everyMs: number | ((value: T | undefined) => number) = 0,
  keeps = false,
): Loaded<T> {
  const queries = useQueryClient();
  const { data, error, isFetching, refetch } = useQuery({
    queryKey: key,
    queryFn: () => fetcher(() => queries.getQueryData<T>(key)),
    refetchInterval: ({ state }) =>
      (typeof everyMs === 'number' ? everyMs : everyMs(state.data)) || false,
    ...(keeps && { placeholderData: keepPreviousData }),
  });
  // Keep an error until the next successful response, not only until the next request.
  const lastError = useRef<Error | null>(null);
  if (!isFetching && !(error instanceof NoAnswer)) lastError.current = error;

  const latest = useRef(key);
  latest.current = key;
  const reload = useCallback(() => void refetch(), [refetch]);
  const set = useCallback(
    (update: (value: T) => T) =>
      void queries.setQueryData<T>(latest.current, (now) => now && update(now)),
    [queries],
  );
  return { value: data ?? null, error: lastError.current, reload, set };
}
