import type { ProjectObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useContext, useEffect } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { OwnKey, useMay } from '../api/own-key.js';
import { ApiError } from '../api/request.js';
import { AuditLog } from '../projects/audit-log.js';
import { Members } from '../projects/members.js';
import { ProjectGeneral } from '../projects/project-general.js';
import { ProjectKeys } from '../projects/project-keys.js';
import { ProjectUse } from '../projects/project-limits.js';
import { Trackers } from '../projects/trackers.js';
import { WebhookSettings } from '../projects/webhooks.js';
import { WillBeDeleted } from '../projects/will-be-deleted.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { Tabs } from '../ui/tabs.js';

const TABS = ['General', 'Members', 'Keys', 'Limits', 'Webhooks', 'Trackers', 'Audit log'] as const;
type Tab = (typeof TABS)[number];

/** Tabs for keys that do not manage the project. */
const READABLE: readonly Tab[] = ['General', 'Limits'];
/** Tabs that a key can manage in its own project only. */
const OWN: readonly Tab[] = ['Webhooks', 'Trackers'];

/** Name of a tab in the address. */
const slug = (tab: Tab): string => tab.split(' ')[0]?.toLowerCase() ?? '';

interface Props {
  /** Null selects the project of the current key. */
  readonly id: string | null;
  readonly parameters: URLSearchParams;
}

/** Settings of a project: name, members, keys, limits, webhooks, trackers and audit log. */
export function SettingsPage({ id, parameters }: Props) {
  const key = useContext(OwnKey);
  if (id === null && key === null)
    return (
      <Page title="Settings">
        <Skeleton height={36} rows={5} />
      </Page>
    );
  return <Settings id={id ?? key?.project.id ?? ''} parameters={parameters} />;
}

function Settings({ id, parameters }: { id: string; parameters: URLSearchParams }) {
  const may = useMay();
  const navigate = useNavigate();
  const own = useContext(OwnKey)?.project ?? null;
  const manages = may('project:admin');
  const project = useLoaded(['project', id, manages], async () =>
    manages ? await api.project(id) : null,
  );
  const isOwn = own?.id === id;
  const name = project.value?.name ?? (isOwn ? own.name : null) ?? 'Settings';
  useEffect(() => {
    document.title = `${name} · Settings · Graft`;
  }, [name]);
  const crumbs = may('admin') ? [<Link to="/projects">Projects</Link>] : [];
  if (project.error instanceof ApiError && project.error.status === 404)
    return (
      <Page title="Project not found" crumbs={crumbs}>
        <p role="alert">
          There is no project <code className="break">{id}</code>, or this key cannot access it.
        </p>
      </Page>
    );
  const names = TABS.filter((tab) =>
    manages ? isOwn || !OWN.includes(tab) : READABLE.includes(tab),
  );
  const requested = names.find((tab) => slug(tab) === parameters.get('tab'));
  const open = requested ?? 'General';
  const deletesAt = project.value?.graft.deletes_at ?? null;
  return (
    <Page
      title={name}
      crumbs={crumbs}
      status={
        <>
          {project.value?.status === 'archived' && <span className="pill off">archived</span>}
          {deletesAt !== null && <WillBeDeleted id={id} at={deletesAt} restored={project.reload} />}
        </>
      }
    >
      <Failure error={project.error} />
      <Tabs
        label="Settings"
        names={names}
        open={open}
        choose={(tab) =>
          void navigate({
            to: '.',
            search: { tab: slug(tab) },
            replace: true,
            resetScroll: false,
          })
        }
      >
        <TabContent
          tab={open}
          id={id}
          name={name}
          isOwn={isOwn}
          project={project.value}
          changed={project.reload}
          parameters={parameters}
        />
      </Tabs>
    </Page>
  );
}

interface ContentProps {
  readonly tab: Tab;
  readonly id: string;
  readonly name: string;
  readonly isOwn: boolean;
  /** Null if the key may only read limits. */
  readonly project: ProjectObject | null;
  readonly changed: () => void;
  readonly parameters: URLSearchParams;
}

function TabContent({ tab, id, name, isOwn, project, changed, parameters }: ContentProps) {
  const archived = project?.status === 'archived';
  switch (tab) {
    case 'General':
      return <ProjectGeneral id={id} name={name} project={project} changed={changed} />;
    case 'Members':
      return <Members project={id} archived={archived} />;
    case 'Keys':
      return <ProjectKeys project={id} archived={archived} />;
    case 'Limits':
      return <ProjectUse id={id} own={isOwn} project={project} changed={changed} />;
    case 'Webhooks':
      return <WebhookSettings />;
    case 'Trackers':
      return <Trackers />;
    case 'Audit log':
      return <AuditLog project={id} parameters={parameters} />;
  }
}
