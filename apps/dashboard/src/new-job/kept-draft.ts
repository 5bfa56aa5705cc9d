// What was typed into the new-job form, kept in this tab until the job is submitted.
import { apiKey } from '../api/session.js';
import { BLANK, type Draft } from './job-draft.js';

const SLOT = 'graft.new_job';

interface Kept {
  /** Of the session: another key may be another project's. */
  readonly key: string | null;
  /** Of the browser's history, the same after a reload and when it is gone back to. */
  readonly entry: string;
  readonly draft: Draft;
}

function entry(): string {
  const state = window.history.state as { readonly __TSR_key?: unknown } | null;
  return String(state?.__TSR_key ?? '');
}

export const keepDraft = (draft: Draft): void =>
  sessionStorage.setItem(
    SLOT,
    JSON.stringify({ key: apiKey(), entry: entry(), draft } satisfies Kept),
  );

export const forgetDraft = (): void => sessionStorage.removeItem(SLOT);

/** @param isLink whether the address says what the form begins with, which counts unless it was typed over there */
export function keptDraft(isLink: boolean): Draft | null {
  const text = sessionStorage.getItem(SLOT);
  if (text === null) return null;
  const kept = JSON.parse(text) as Kept;
  if (kept.key !== apiKey() || (isLink && kept.entry !== entry())) return null;
  return { ...BLANK, ...kept.draft };
}
