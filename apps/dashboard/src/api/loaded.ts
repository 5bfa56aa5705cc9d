// What the server answered, kept by what was asked for: pages share it, and one that is gone back to shows it at once.
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

/** Whether the server is there is found out in contact.ts, for the whole page; here nothing is tried twice. */
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
 * Holds the answers of one session: another key may see other things, and has all below begin anew. A server that is
 * back is asked again for what is shown.
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
 * What `fetcher`, which is told what there is already, answers under a key that says what was asked for. It is asked when
 * mounted, on `reload`, when a lost server is back, and again every `everyMs` while the tab is visible, but never while an
 * answer is awaited. `everyMs` may depend on the last answer (0: no more). With `keeps` the answer to the key before stays
 * until there is one. That there is none is said once for the whole page.
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
  // A refusal stays said until there is another answer, not only until it is asked again.
  const said = useRef<Error | null>(null);
  if (!isFetching && !(error instanceof NoAnswer)) said.current = error;

  const latest = useRef(key);
  latest.current = key;
  const reload = useCallback(() => void refetch(), [refetch]);
  const set = useCallback(
    (update: (value: T) => T) =>
      void queries.setQueryData<T>(latest.current, (now) => now && update(now)),
    [queries],
  );
  return { value: data ?? null, error: said.current, reload, set };
}
