import type { JobPreviewObject } from '@graft/contracts';
import { useEffect, useRef, useState } from 'react';
import { api } from '../api/api.js';
import { NoAnswer } from '../api/request.js';
import { onBack } from '../api/contact.js';

/** What the API says would come of a create call; of the last body it has answered. */
export interface Preview {
  readonly plan: JobPreviewObject | null;
  /** Why a create call would be refused. */
  readonly refused: Error | null;
  /** Whether the answer to the newest body is still to come. */
  readonly asking: boolean;
}

const NOTHING: Preview = { plan: null, refused: null, asking: false };
/** Typing asks once, not at every letter. */
const PAUSE_MS = 350;

/** Asks for a preview when the body has stood still for a moment; null: there is nothing to ask yet. */
export function usePreview(body: Record<string, unknown> | null): Preview {
  const text = body === null ? null : JSON.stringify(body);
  const [preview, setPreview] = useState(NOTHING);
  const newest = useRef<string | null>(null);
  newest.current = text;
  const [returns, setReturns] = useState(0);
  useEffect(() => onBack(() => setReturns((n) => n + 1)), []);

  useEffect(() => {
    if (text === null) return setPreview(NOTHING);
    setPreview((now) => ({ ...now, asking: true }));
    const answered = (next: Partial<Preview>) => {
      if (newest.current === text) setPreview((now) => ({ ...now, ...next, asking: false }));
    };
    const timer = setTimeout(() => {
      api.previewJob(JSON.parse(text)).then(
        (plan) => answered({ plan, refused: null }),
        // Where the API does not answer the page says so, and asks again when it does; the last plan still tells something.
        (refused: Error) => refused instanceof NoAnswer || answered({ plan: null, refused }),
      );
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, returns]);
  return preview;
}
