// Keeps the new-job form's contents in this tab until the job is submitted.
import { apiKey } from '../api/session.js';
import { BLANK, type Draft } from './job-draft.js';

const SLOT = 'graft.new_job';

interface SavedDraft {
  /** API key of the session. Another key can belong to another project. */
  readonly key: string | null;
  /** Key of the history entry, which stays the same after a reload or a navigation back. */
  readonly entry: string;
  readonly draft: Draft;
}

function entry(): string {
  const state = window.history.state as { readonly __TSR_key?: unknown } | null;
  return String(state?.__TSR_key ?? '');
}

export const saveDraft = (draft: Draft): void =>
  sessionStorage.setItem(
    SLOT,
    JSON.stringify({ key: apiKey(), entry: entry(), draft } satisfies SavedDraft),
  );

export const forgetDraft = (): void => sessionStorage.removeItem(SLOT);

/**
 * Returns the kept draft.
 * @param isLink whether the address prefills the form. A draft of another history entry is then
 * ignored.
 */
export function savedDraft(isLink: boolean): Draft | null {
  const text = sessionStorage.getItem(SLOT);
  if (text === null) return null;
  const saved = JSON.parse(text) as SavedDraft;
  if (saved.key !== apiKey() || (isLink && saved.entry !== entry())) return null;
  return { ...BLANK, ...saved.draft };
}
