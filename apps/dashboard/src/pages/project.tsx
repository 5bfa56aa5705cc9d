import { useNavigate } from '@tanstack/react-router';
import { useContext, useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { AuditLog } from '../projects/audit-log.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { DeleteProjectButton } from '../projects/delete-project.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { Members } from '../projects/members.js';
import { ProjectKeys } from '../projects/project-keys.js';
import { ProjectUse } from '../projects/project-limits.js';
import { Tabs } from '../ui/tabs.js';
import { Trackers } from '../projects/trackers.js';
import { WillBeDeleted } from '../projects/will-be-deleted.js';
import { useLoaded } from '../api/loaded.js';
import { OwnKey, useMay } from '../api/own-key.js';
import { archiveText } from './projects.js';

const TABS = ['Usage', 'Members', 'Keys', 'Trackers', 'Audit'] as const;
type Tab = (typeof TABS)[number];

/**
 * A project: limits and usage, members, keys, trackers and audit log. A null id selects the project
 * of the current key.
 */
export function ProjectPage({
  id,
  parameters,
}: {
  id: string | null;
  parameters: URLSearchParams;
}) {
  const key = useContext(OwnKey);
  if (id === null && key === null)
    return (
      <main>
        <h1>Project</h1>
        <Loading error={null} />
      </main>
    );
  return <Project id={id ?? key?.project.id ?? ''} parameters={parameters} />;
}

interface Props {
  readonly id: string;
  readonly parameters: URLSearchParams;
}

function Project({ id, parameters }: Props) {
  const confirm = useConfirm();
  const may = useMay();
  const navigate = useNavigate();
  const own = useContext(OwnKey)?.project ?? null;
  const manages = may('project:admin');
  const [problem, setProblem] = useState<Error | null>(null);
  const project = useLoaded(['project', id, manages], async () =>
    manages ? await api.project(id) : null,
  );
  const isOwn = own?.id === id;
  const name = project.value?.name ?? (isOwn ? own.name : null);
  useEffect(() => {
    document.title = `${name ?? 'Project'} · Graft`;
  }, [name]);
  if (project.error instanceof ApiError && project.error.status === 404)
    return (
      <main>
        <h1>Project not found</h1>
        <p role="alert">
          There is no project <code className="break">{id}</code>, or this key cannot access it.
        </p>
      </main>
    );
  const archived = project.value?.status === 'archived';
  const deletesAt = project.value?.graft.deletes_at ?? null;
  // A key can manage the trackers of its own project only.
  const names = manages ? TABS.filter((one) => isOwn || one !== 'Trackers') : (['Usage'] as const);
  const requested = names.find((one) => one.toLowerCase() === parameters.get('tab'));
  const open: Tab = requested ?? 'Usage';
  const archive = () =>
    confirm(archiveText(name ?? id), 'Archive', () =>
      api.archiveProject(id).then(() => navigate({ to: '/projects' }), setProblem),
    );
  return (
    <main>
      {may('admin') && (
        <p className="crumb">
          <Link to="/projects">All projects</Link>
        </p>
      )}
      <div className="bar head">
        <h1 className="name">{name ?? 'Project'}</h1>
        {archived && <span className="pill off">– archived</span>}
        <span className="faint">
          <code>{id}</code>
        </span>
        {deletesAt !== null && <WillBeDeleted id={id} at={deletesAt} restored={project.reload} />}
        <span className="grow" />
        {may('admin') && project.value && !archived && id !== 'proj-default' && (
          <button onClick={() => void archive()}>Archive project</button>
        )}
        {may('admin') && project.value && deletesAt === null && id !== 'proj-default' && (
          <DeleteProjectButton id={id} deleted={project.reload} />
        )}
      </div>
      <Failure error={problem ?? project.error} />
      <Tabs
        label="Project sections"
        names={names as readonly Tab[]}
        open={open}
        choose={(tab) =>
          void navigate({
            to: '.',
            search: { tab: tab.toLowerCase() },
            replace: true,
            resetScroll: false,
          })
        }
      >
        {open === 'Usage' && (
          <ProjectUse id={id} own={isOwn} project={project.value} changed={project.reload} />
        )}
        {open === 'Members' && <Members project={id} archived={archived} />}
        {open === 'Keys' && <ProjectKeys project={id} archived={archived} />}
        {open === 'Trackers' && <Trackers />}
        {open === 'Audit' && <AuditLog project={id} parameters={parameters} />}
      </Tabs>
    </main>
  );
}
