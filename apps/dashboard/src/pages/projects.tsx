import type { ProjectObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { AuditLog } from '../projects/audit-log.js';
import { Failure } from '../ui/failure.js';
import { Text } from '../forms/fields.js';
import { Fold } from '../ui/fold.js';
import { LimitFields, limitsBody, type TypedLimits } from '../projects/limit-fields.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { Row, Table } from '../ui/table.js';
import { Tabs } from '../ui/tabs.js';
import { WillBeDeleted } from '../projects/will-be-deleted.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';

const TABS = ['Projects', 'Audit'] as const;

/** Describes the consequences of archiving, which cannot be undone. */
export const archiveText = (name: string): string =>
  `Archive ${name}? Its keys stop working, its queued and running jobs are cancelled and its pools are closed to it. Files, models, history and audit log are kept. This cannot be undone.`;

/** All projects of the installation and their audit log, for admins. */
export function ProjectsPage({ parameters }: { parameters: URLSearchParams }) {
  const navigate = useNavigate();
  const open = parameters.get('tab') === 'audit' ? 'Audit' : 'Projects';
  return (
    <main>
      <h1>Projects</h1>
      <Tabs
        label="Projects and audit log"
        names={TABS}
        open={open}
        choose={(tab) =>
          void navigate({
            to: '/projects',
            search: tab === 'Audit' ? { tab: 'audit' } : {},
            replace: true,
            resetScroll: false,
          })
        }
      >
        {open === 'Projects' ? <Projects /> : <AuditLog project={null} parameters={parameters} />}
      </Tabs>
    </main>
  );
}

function Projects() {
  const projects = useLoaded(['projects'], api.projects, 5000);
  const [archived, setArchived] = useState(false);
  const all = projects.value ?? [];
  const shown = archived
    ? all
    : all.filter(({ status, graft }) => status === 'active' || graft.deletes_at);
  return (
    <>
      <NewProject />
      <Failure error={projects.error} />
      {projects.value === null && <Loading error={projects.error} />}
      {all.length > shown.length || archived ? (
        <p>
          <label>
            <input
              type="checkbox"
              checked={archived}
              onChange={(e) => setArchived(e.target.checked)}
            />{' '}
            show archived
          </label>
        </p>
      ) : null}
      {shown.length > 0 && (
        <Table columns={['Project', 'State', 'Running', 'Queued', 'Weight', 'Pools', 'Created']}>
          {shown.map((project) => (
            <ProjectRow key={project.id} project={project} changed={projects.reload} />
          ))}
        </Table>
      )}
    </>
  );
}

/** Returns "2 of 4", or only the number if there is no limit. */
const of = (used: number, limit: number | undefined): string =>
  limit === undefined ? String(used) : `${used} of ${limit}`;

function ProjectRow({ project, changed }: { project: ProjectObject; changed: () => void }) {
  const { id, name, status, created_at: created, graft } = project;
  return (
    <Row>
      <td className="break">
        <Link to="/projects/$id" params={{ id }}>
          {name}
        </Link>
        <div className="faint">
          <code>{id}</code>
        </div>
      </td>
      <td className="state">
        <span aria-hidden="true">{status === 'active' ? '●' : '–'}</span> {status}
        {graft.deletes_at && <WillBeDeleted id={id} at={graft.deletes_at} restored={changed} />}
      </td>
      <td className="numbers">{of(graft.running_jobs, graft.limits.running_jobs)}</td>
      <td className="numbers">{of(graft.queued_jobs, graft.limits.queued_jobs)}</td>
      <td className="numbers">{graft.weight}</td>
      <td className="break">{graft.pools.join(', ') || '–'}</td>
      <td className="numbers" title={moment(created)}>
        {ago(created)}
      </td>
    </Row>
  );
}

/** Form that creates a project with its limits. Members are added on its own page. */
function NewProject() {
  const navigate = useNavigate();
  const [name, setName] = useState('');
  const [weight, setWeight] = useState('');
  const [limits, setLimits] = useState<TypedLimits>({});
  const [error, setError] = useState<Error | null>(null);
  const wrong = error instanceof ApiError ? error : null;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    const graft = { ...(weight && { weight: Number(weight) }), limits: limitsBody(limits) };
    api
      .createProject({ name: name.trim(), graft })
      .then(
        ({ id }) => navigate({ to: '/projects/$id', params: { id }, search: { tab: 'members' } }),
        setError,
      );
  };
  return (
    <form onSubmit={submit}>
      <div className="bar">
        <label className="field">
          Name
          <input
            required
            maxLength={100}
            aria-label="Name of the new project"
            placeholder="a team or a purpose"
            value={name}
            onChange={(e) => setName(e.target.value)}
          />
        </label>
        <button className="main bottom">Create project</button>
      </div>
      <Fold
        className="card"
        title="Weight and limits of the new project"
        reason={wrong?.param?.startsWith('graft') ? wrong : null}
      >
        <div className="fields">
          <Text
            id="graft.weight"
            label="Weight"
            value={weight}
            change={setWeight}
            placeholder="1"
            wrong={wrong}
            help="1 to 1000. Weight 2 gets twice the slots of weight 1 while both have queued jobs."
          />
          <LimitFields values={limits} change={setLimits} wrong={wrong} />
        </div>
      </Fold>
      <Failure error={error} />
    </form>
  );
}
