import type { IntegrationRequest } from '@graft/contracts/compared-jobs';
import { INTEGRATION_NAMES } from '@graft/contracts/integration-names';
import type { Change } from '../forms/change.js';
import { FieldProblem, isOf, type Refusal } from '../forms/field-problem.js';
import type { Draft } from './job-draft.js';

interface Props {
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly wrong: Refusal | null;
  /** Trackers of the copied job. */
  readonly offered: Draft['integrations'];
}

const ID = 'integrations';

const whereTo = (one: IntegrationRequest): string =>
  one.type === 'wandb' ? `project ${one.wandb.project}` : `experiment ${one.mlflow.experiment}`;

/** Checkboxes for the trackers of the copied job. */
export function JobTrackers({ draft, change, wrong, offered }: Props) {
  const bad = isOf(wrong, ID);
  if (!offered?.length) return null;
  const isChosen = ({ type }: IntegrationRequest, { integrations }: Draft) =>
    integrations?.some((one) => one.type === type) ?? false;
  return (
    <div className="card" role="group" aria-label={ID}>
      <div className={bad ? 'field wrong' : 'field'}>
        <b className="label">{ID}</b>
        {offered.map((one) => (
          <label key={one.type}>
            <input
              type="checkbox"
              checked={isChosen(one, draft)}
              aria-invalid={bad}
              onChange={({ target: { checked } }) =>
                change((now) => ({
                  integrations: offered.filter((it) => (it === one ? checked : isChosen(it, now))),
                }))
              }
            />{' '}
            Log this job to {INTEGRATION_NAMES[one.type]}, {whereTo(one)}
          </label>
        ))}
        {bad && <FieldProblem id={ID} wrong={wrong} />}
      </div>
    </div>
  );
}
