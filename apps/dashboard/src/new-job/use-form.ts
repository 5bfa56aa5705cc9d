// State of the new-job form: the draft, what follows from it, its preview, and sending it.
import type {
  Catalog,
  CatalogTask,
  FileObject,
  JobObject,
  JobPreviewObject,
  ModelObject,
  WorkerObject,
} from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useMemo, useRef, useState } from 'react';
import { ApiError } from '../api/request.js';
import { changed, type Change } from '../forms/change.js';
import { asProblem, type Problem, type Refusal } from '../forms/field-problem.js';
import { rankedBases } from './base-choice.js';
import { missingProblems, typedProblems } from './form-problems.js';
import { bodyOf, taskOf, type Draft } from './job-draft.js';
import { configurationOf, configurations, type Configuration } from './method-list.js';
import { withPreset } from './presets.js';
import { forgetDraft, saveDraft } from './saved-draft.js';
import { usePreview, type Preview } from './use-preview.js';

/** Objects that the form chooses from. */
interface Lists {
  readonly catalog: Catalog;
  readonly models: readonly ModelObject[];
  readonly files: readonly FileObject[];
  readonly workers: readonly WorkerObject[];
  readonly jobs: readonly JobObject[];
}

/** The form's contents, and a function for the user's changes, which are kept. */
export function useDraft(start: Draft) {
  const [draft, setDraft] = useState(start);
  const isTyped = useRef(false);
  useEffect(() => {
    if (isTyped.current) saveDraft(draft);
  }, [draft]);
  const type: Change<Draft> = (part) => {
    isTyped.current = true;
    setDraft((now) => changed(now, part));
  };
  return [draft, type] as const;
}

/** Returns everything that follows from the draft. */
export function useChosen(draft: Draft, { catalog, models, files, workers, jobs }: Lists) {
  const file = files.find(({ id }) => id === draft.training_file);
  const pool = draft.graft['pool'] || 'default';
  const all = useMemo(() => configurations(catalog.methods), [catalog]);
  const bases = useMemo(() => {
    const ready = models.filter((m) => m.graft?.kind === 'base' && m.graft.status === 'ready');
    return rankedBases(ready, { catalog, file, workers, jobs, pool });
  }, [models, catalog, file, workers, jobs, pool]);
  const base = bases.find(({ id }) => id === draft.model) ?? (draft.model ? undefined : bases[0]);
  const subject = { file, base };
  const task = taskOf(draft, catalog, subject);
  const method = configurationOf(draft, all) ?? all[0];
  const situation = { catalog, file, workers, jobs, pool };
  return { file, all, bases, base, subject, task, method, situation };
}

interface Answers {
  readonly method: Configuration;
  readonly task: CatalogTask;
  readonly file: FileObject | undefined;
  readonly base: ModelObject | undefined;
}

interface Planned {
  /** Body of the create request. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly preview: Preview;
  /** Plan with the automatic length, to which the presets refer. */
  readonly standard: JobPreviewObject | null;
  /** Whether file and base model are chosen. */
  readonly isComplete: boolean;
  readonly problems: {
    readonly typed: readonly Problem[];
    readonly missing: readonly Problem[];
  };
}

/** Returns the request for the draft, its preview, and the problems that can be found without the API. */
export function usePlan(
  draft: Draft,
  { method, task, file, base }: Answers,
  catalog: Catalog,
): Planned {
  const model = draft.model || (base?.id ?? '');
  const bodyFor = (of: Draft) =>
    bodyOf({ ...of, model }, { method: method.method, task, file }, catalog);
  const body = bodyFor(draft);
  const typed = typedProblems(draft, { method, task }, catalog);
  const isComplete = model !== '' && draft.training_file !== '';
  const isValid = isComplete && typed.length === 0;
  const preview = usePreview(isValid ? body : null, typed.length > 0);
  const standardBody = bodyFor({ ...draft, ...withPreset(draft, {}) });
  const isStandard = JSON.stringify(standardBody) === JSON.stringify(body);
  const other = usePreview(isValid && !isStandard ? standardBody : null);
  return {
    body,
    preview,
    standard: isStandard ? preview.plan : other.plan,
    isComplete,
    problems: { typed, missing: missingProblems(draft, base !== undefined) },
  };
}

/** Focuses the field of a problem once its section is open. */
function useFocus() {
  const [at, setAt] = useState<{ readonly problem: Problem; readonly n: number } | null>(null);
  useEffect(() => {
    const path = at?.problem.path;
    if (path == null) return;
    const field = document.getElementById(path);
    field?.focus();
    field?.scrollIntoView({ block: 'center' });
  }, [at]);
  const focus = (problem: Problem) => setAt((now) => ({ problem, n: (now?.n ?? 0) + 1 }));
  return { focus, focusRequests: at?.n ?? 0 };
}

/** Returns an error with the path of its field. A field that a sweep varies is the field of its values. */
function refusalOf(error: Error, varied: Readonly<Record<string, string>>): Refusal {
  const param = error instanceof ApiError ? error.param : null;
  const isVaried = param !== null && (varied[param] ?? '') !== '';
  return { param: isVaried ? `search.parameters.${param}` : param, message: error.message };
}

/**
 * Sends a create request and opens the new object's page. With a problem, its field gets the focus instead.
 * @param varied values of a sweep as typed, by the path of their field
 */
export function useSubmission(
  { typed, missing }: Planned['problems'],
  preview: Preview,
  varied: Readonly<Record<string, string>> = {},
) {
  const navigate = useNavigate();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const [isTried, setTried] = useState(false);
  const { focus, focusRequests } = useFocus();
  const refused = error
    ? refusalOf(error, varied)
    : preview.refused && refusalOf(preview.refused, {});
  const problems = [
    ...(isTried ? missing : []),
    ...typed,
    ...(refused ? [asProblem(refused)] : []),
  ];
  const refuse = (failure: Error) => {
    setError(failure);
    focus(asProblem(refusalOf(failure, varied)));
  };
  const send = (
    to: '/jobs/$id' | '/sweeps/$id',
    create: () => Promise<{ readonly id: string }>,
  ): void => {
    setTried(true);
    const [first] = [...missing, ...typed];
    if (first) return focus(first);
    setBusy(true);
    setError(null);
    create()
      .then(({ id }) => {
        forgetDraft();
        return navigate({ to, params: { id } });
      }, refuse)
      .finally(() => setBusy(false))
      .catch(() => undefined);
  };
  return { busy, problems, focus, focusRequests, send, forgetError: () => setError(null) };
}
