import type { LimitsObject, ProjectObject } from '@graft/contracts';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { figure, LIMIT_NAMES, resetTime, type Limit } from './limit-text.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { Failure } from '../ui/failure.js';
import { Text } from '../forms/fields.js';
import { Fold } from '../ui/fold.js';
import { LimitFields, limitsBody, typedLimits } from './limit-fields.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { Row, Table } from '../ui/table.js';

/** Limits, usage and pools of a project, with a form for the settings that the key may change. */
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
        <UseTable limits={limits.value} />
      )}
      {project && (
        <>
          <h2>Pools</h2>
          <Pools names={project.graft.pools} archived={!open} />
        </>
      )}
      {open && may('project:admin') && (
        <ProjectSettings
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

function UseTable({ limits }: { limits: LimitsObject }) {
  return (
    <>
      <Table columns={['Resource', 'Used', 'Limit', 'Share']}>
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

function Pools({ names, archived }: { names: readonly string[]; archived: boolean }) {
  if (names.length === 0)
    return (
      <p className="faint">
        {archived
          ? 'None: the project is archived.'
          : 'None yet: a pool appears when its first worker joins, or when it is granted.'}
      </p>
    );
  return (
    <p className="bar">
      {names.map((name) => (
        <Link key={name} to="/pools/$name" params={{ name }}>
          {name}
        </Link>
      ))}
    </p>
  );
}

/** Settings of a project. Owners change the name; admins also change weight and limits. */
function ProjectSettings({ project, changed }: { project: ProjectObject; changed: () => void }) {
  const admin = useMay()('admin');
  const [name, setName] = useState(project.name);
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
    const body = {
      name: name.trim(),
      ...(admin && { graft: { weight: Number(weight), limits: limitsBody(limits) } }),
    };
    api.modifyProject(project.id, body).then(() => {
      setSaved(true);
      changed();
    }, setError);
  };
  return (
    <Fold
      className="card"
      title={admin ? 'Change name, weight and limits' : 'Rename the project'}
      reason={error}
    >
      <form onSubmit={submit}>
        <div className="fields">
          <Text
            id="name"
            label="Name"
            value={name}
            change={edit(setName)}
            placeholder=""
            wrong={wrong}
            help="Display name"
          />
          {admin && (
            <Text
              id="graft.weight"
              label="Weight"
              value={weight}
              change={edit(setWeight)}
              placeholder="1"
              wrong={wrong}
              help="1 to 1000. Weight 2 gets twice the slots of weight 1 while both have queued jobs."
            />
          )}
          {admin && <LimitFields values={limits} change={edit(setLimits)} wrong={wrong} />}
        </div>
        <p className="bar">
          <button className="main">Save</button>
          <span role="status" className="faint">
            {saved && '✓ saved'}
          </span>
        </p>
        <Failure error={error} />
      </form>
    </Fold>
  );
}
