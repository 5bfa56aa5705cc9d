// Short messages above the page. Their code is loaded with the first one.
import {
  createContext,
  lazy,
  Suspense,
  useCallback,
  useContext,
  useState,
  type ReactNode,
} from 'react';

export interface Message {
  readonly title: string;
  readonly undo: (() => Promise<void>) | null;
}

const LoadedToasts = lazy(async () => ({
  default: (await import('./loaded-toasts.js')).LoadedToasts,
}));
const Show = createContext<(message: Message) => void>(() => undefined);

/**
 * Returns a function that shows a toast with an undo button, replacing the previous toast. If
 * undoing fails, the error is shown on whatever page is then open.
 */
export function useUndo(): (done: string, undo: () => Promise<void>) => void {
  const show = useContext(Show);
  return useCallback((title, undo) => show({ title, undo }), [show]);
}

/** Returns a function that shows a short message, replacing the previous one. */
export function useToast(): (message: string) => void {
  const show = useContext(Show);
  return useCallback((title) => show({ title, undo: null }), [show]);
}

/** Provider of the toasts of all pages. */
export function Toasts({ children }: { children: ReactNode }) {
  const [message, show] = useState<Message | null>(null);
  return (
    <Show value={show}>
      {children}
      {message && (
        <Suspense>
          <LoadedToasts message={message} />
        </Suspense>
      )}
    </Show>
  );
}
