import type { Change } from '../forms/change.js';
import type { Problem } from '../forms/field-problem.js';
import type { Draft } from './job-draft.js';

/** State of the form that every section receives. */
export interface FormState {
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly problems: readonly Problem[];
}
