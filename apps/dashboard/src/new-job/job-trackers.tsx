import type { IntegrationRequest } from '@graft/contracts/compared-jobs';
import { INTEGRATION_NAMES } from '@graft/contracts/integration-names';
import { problemAt } from '../forms/field-problem.js';
import type { FormState } from './form-state.js';
import type { Draft } from './job-draft.js';

interface Props extends FormState {
  /** Trackers of the copied job. */
  readonly offered: Draft['integrations'];
}

const whereTo = (one: IntegrationRequest): string =>
  one.type === 'wandb' ? `project ${one.wandb.project}` : `experiment ${one.mlflow.experiment}`;

/** Checkboxes for the trackers of the copied job. */
export function JobTrackers({ draft, change, problems, offered }: Props) {
  const problem = problemAt(problems, 'integrations');
  if (!offered?.length) return null;
  const isChosen = ({ type }: IntegrationRequest, { integrations }: Draft) =>
    integrations?.some((one) => one.type === type) ?? false;
  return (
    <div className={problem ? 'field wrong' : 'field'} role="group" aria-label="Trackers">
      <b className="label">Trackers</b>
      {offered.map((one) => (
        <label key={one.type}>
          <input
            type="checkbox"
            checked={isChosen(one, draft)}
            aria-invalid={problem !== null}
            onChange={({ target: { checked } }) =>
              change((now) => ({
                integrations: offered.filter((it) => (it === one ? checked : isChosen(it, now))),
              }))
            }
          />{' '}
          Log this job to {INTEGRATION_NAMES[one.type]}, {whereTo(one)}
        </label>
      ))}
      {problem && <small className="bad">{problem}</small>}
    </div>
  );
}
