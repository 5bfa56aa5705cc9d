import type { ProjectObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { Plus } from 'lucide-react';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { AuditLog } from '../projects/audit-log.js';
import { ApiKeys, JoinTokens } from '../operate/all-keys.js';
import { ShortId } from '../projects/short-id.js';
import { Button } from '../ui/controls/button.js';
import { Field } from '../ui/controls/field.js';
import { Failure } from '../ui/feedback/failure.js';
import { Drawer } from '../ui/overlays/drawer.js';
import { Page } from '../ui/page.js';
import { Text } from '../forms/fields.js';
import { Fold } from '../ui/fold.js';
import { LimitFields, limitsBody, type TypedLimits } from '../projects/limit-fields.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/feedback/loading.js';
import { Row, Table } from '../ui/table.js';
import { Tabs } from '../ui/tabs.js';
import { WillBeDeleted } from '../projects/will-be-deleted.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';

const TABS = ['Projects', 'API keys', 'Join tokens', 'Audit log'] as const;
type Tab = (typeof TABS)[number];

/** Names of the tabs in the address. */
const SLUGS: Readonly<Record<Tab, string>> = {
  Projects: 'projects',
  'API keys': 'keys',
  'Join tokens': 'tokens',
  'Audit log': 'audit',
};

/** The whole installation, for admins: projects, keys, join tokens and the audit log. */
export function ProjectsPage({ parameters }: { parameters: URLSearchParams }) {
  const navigate = useNavigate();
  const open = TABS.find((tab) => SLUGS[tab] === parameters.get('tab')) ?? 'Projects';
  const [isAdding, setAdding] = useState(false);
  return (
    <Page
      title="Installation"
      actions={
        open === 'Projects' && (
          <Button variant="primary" icon={<Plus />} onClick={() => setAdding(true)}>
            New project
          </Button>
        )
      }
    >
      <Tabs
        label="Installation"
        names={TABS}
        open={open}
        choose={(tab) =>
          void navigate({
            to: '/projects',
            search: tab === 'Projects' ? {} : { tab: SLUGS[tab] },
            replace: true,
            resetScroll: false,
          })
        }
      >
        {open === 'Projects' && <Projects />}
        {open === 'API keys' && <ApiKeys />}
        {open === 'Join tokens' && <JoinTokens />}
        {open === 'Audit log' && <AuditLog project={null} parameters={parameters} />}
      </Tabs>
      {isAdding && (
        <Drawer title="New project" close={() => setAdding(false)}>
          <NewProject />
        </Drawer>
      )}
    </Page>
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
        <Table
          columns={['Project', 'State', 'Running', 'Queued', 'Weight', 'Pools', 'Created']}
          numbers={['Weight']}
        >
          {shown.map((project) => (
            <ProjectRow key={project.id} project={project} changed={projects.reload} />
          ))}
        </Table>
      )}
    </>
  );
}

/** Number in use, with a bar if there is a limit. */
function Used({ of, limit, name }: { of: number; limit: number | undefined; name: string }) {
  if (limit === undefined) return <span className="numbers">{of}</span>;
  return (
    <span className="progress">
      <progress value={Math.min(of, limit)} max={Math.max(1, limit)} aria-label={name} />
      <span className="numbers">
        {of} of {limit}
      </span>
    </span>
  );
}

function ProjectRow({ project, changed }: { project: ProjectObject; changed: () => void }) {
  const { id, name, status, created_at: created, graft } = project;
  return (
    <Row>
      <td className="break">
        <Link to="/projects/$id" params={{ id }}>
          {name}
        </Link>
        <div className="faint">
          <ShortId id={id} />
        </div>
      </td>
      <td className="state">
        <span aria-hidden="true">{status === 'active' ? '●' : '–'}</span> {status}
        {graft.deletes_at && <WillBeDeleted id={id} at={graft.deletes_at} restored={changed} />}
      </td>
      <td>
        <Used of={graft.running_jobs} limit={graft.limits.running_jobs} name={`${name}: running`} />
      </td>
      <td>
        <Used of={graft.queued_jobs} limit={graft.limits.queued_jobs} name={`${name}: queued`} />
      </td>
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
    <form className="stack" onSubmit={submit}>
      <Field id="new-project" label="Name">
        <input
          id="new-project"
          required
          maxLength={100}
          placeholder="a team or a purpose"
          value={name}
          onChange={(e) => setName(e.target.value)}
        />
      </Field>
      <Fold title="Weight and limits" reason={wrong?.param?.startsWith('graft') ? wrong : null}>
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
      <Button type="submit" variant="primary">
        Create project
      </Button>
    </form>
  );
}
