import type { JobPreviewObject } from '@graft/contracts';
import { useEffect, useRef, useState } from 'react';
import { api } from '../api/api.js';
import { NoAnswer } from '../api/request.js';
import { onBack } from '../api/contact.js';

/** The API's preview of a create request, for the last body with a response. */
export interface Preview {
  readonly plan: JobPreviewObject | null;
  /** Error that the create request would return. */
  readonly refused: Error | null;
  /** Whether the response for the current body is pending. */
  readonly asking: boolean;
}

const NOTHING: Preview = { plan: null, refused: null, asking: false };
/** Milliseconds without typing before a request. */
const PAUSE_MS = 350;

/**
 * Loads a preview when the body has not changed for a moment. Null loads nothing.
 * @param keeps whether the last preview stays while there is no body
 */
export function usePreview(body: Record<string, unknown> | null, keeps = false): Preview {
  const text = body === null ? null : JSON.stringify(body);
  const [preview, setPreview] = useState(NOTHING);
  const newest = useRef<string | null>(null);
  newest.current = text;
  const [returns, setReturns] = useState(0);
  useEffect(() => onBack(() => setReturns((n) => n + 1)), []);

  useEffect(() => {
    if (text === null)
      return setPreview((now) => (keeps ? { ...now, refused: null, asking: false } : NOTHING));
    setPreview((now) => ({ ...now, asking: true }));
    const answered = (next: Partial<Preview>) => {
      if (newest.current === text) setPreview((now) => ({ ...now, ...next, asking: false }));
    };
    const timer = setTimeout(() => {
      api.previewJob(JSON.parse(text)).then(
        (plan) => answered({ plan, refused: null }),
        // During an outage the banner reports it, the last preview stays, and the request is
        // repeated when the server is back.
        (refused: Error) => refused instanceof NoAnswer || answered({ plan: null, refused }),
      );
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, returns, keeps]);
  return preview;
}
