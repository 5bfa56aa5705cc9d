import type { LimitsObject, ProjectObject } from '@graft/contracts';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { figure, LIMIT_NAMES, resetTime, type Limit } from './limit-text.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Text } from '../forms/fields.js';
import { LimitFields, limitsBody, typedLimits } from './limit-fields.js';
import { Loading } from '../ui/feedback/loading.js';
import { Section } from '../ui/page.js';
import { Row, Table } from '../ui/table.js';

/** Limits of a project and how much of them is used, with a form for admins. */
export function ProjectUse({
  id,
  own,
  project,
  changed,
}: {
  id: string;
  own: boolean;
  /** Null if the key may only read limits. */
  project: ProjectObject | null;
  changed: () => void;
}) {
  const limits = useLoaded(
    ['limits', own ? null : id],
    () => (own ? api.limits() : api.limitsOf(id)),
    5000,
  );
  const may = useMay();
  const open = project !== null && project.status === 'active';
  return (
    <>
      <Failure error={limits.error} />
      {limits.value === null ? (
        <Loading error={limits.error} />
      ) : (
        <LimitUse limits={limits.value} />
      )}
      {open && may('admin') && (
        <LimitsForm
          key={project.id}
          project={project}
          changed={() => {
            changed();
            limits.reload();
          }}
        />
      )}
    </>
  );
}

/** Limits of a project with how much of them is used. */
export function LimitUse({ limits }: { limits: LimitsObject }) {
  return (
    <>
      <Table columns={['Resource', 'Used', 'Limit', 'Share']} numbers={['Used', 'Limit']}>
        {limits.data.map((limit) => (
          <Row key={limit.name}>
            <td>{LIMIT_NAMES[limit.name]}</td>
            <td className="numbers">{figure(limit.name, limit.used)}</td>
            <td className="numbers">
              {limit.limit === null ? 'none' : figure(limit.name, limit.limit)}
            </td>
            <td>
              <Share of={limit} />
            </td>
          </Row>
        ))}
      </Table>
      <p className="faint">
        Weight {limits.weight}: sets this project’s share of a pool’s slots while other projects
        have queued jobs.{' '}
        {limits.highest_priority > 1
          ? `Its jobs may have priority ${limits.highest_priority} or a higher number.`
          : 'Its jobs may have any priority.'}
      </p>
    </>
  );
}

/** Usage as color, bar and word. */
function Share({ of }: { of: Limit }) {
  const { name, limit, used } = of;
  if (limit === null) return <>–</>;
  const part = limit === 0 ? 1 : Math.min(1, used / limit);
  return (
    <span className="progress">
      <progress value={part} aria-label={`${LIMIT_NAMES[name]}: share of the limit`} />
      <span className={used >= limit ? 'bad' : 'faint'}>
        {used >= limit ? 'reached' : `${Math.round(100 * part)} %`}
        {name === 'tokens_per_day' && `, resets at ${resetTime(of)}`}
      </span>
    </span>
  );
}

/** Weight and limits of a project, for admins. */
function LimitsForm({ project, changed }: { project: ProjectObject; changed: () => void }) {
  const [weight, setWeight] = useState(String(project.graft.weight));
  const [limits, setLimits] = useState(typedLimits(project.graft.limits));
  const [error, setError] = useState<Error | null>(null);
  const [saved, setSaved] = useState(false);
  const wrong = error instanceof ApiError ? error : null;
  const edit =
    <T,>(set: (value: T) => void) =>
    (value: T) => {
      setSaved(false);
      setError(null);
      set(value);
    };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    const graft = { weight: Number(weight), limits: limitsBody(limits) };
    api.modifyProject(project.id, { graft }).then(() => {
      setSaved(true);
      changed();
    }, setError);
  };
  return (
    <Section title="Change limits" text="An empty field means no limit." isCard>
      <form onSubmit={submit}>
        <div className="fields">
          <Text
            id="graft.weight"
            label="Weight"
            value={weight}
            change={edit(setWeight)}
            placeholder="1"
            wrong={wrong}
            help="1 to 1000. Weight 2 gets twice the slots of weight 1 while both have queued jobs."
          />
          <LimitFields values={limits} change={edit(setLimits)} wrong={wrong} />
        </div>
        <p className="bar">
          <Button type="submit" variant="primary">
            Save
          </Button>
          <span role="status" className="faint">
            {saved && '✓ saved'}
          </span>
        </p>
        <Failure error={error} />
      </form>
    </Section>
  );
}
