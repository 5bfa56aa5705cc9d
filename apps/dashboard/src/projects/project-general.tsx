import type { ProjectObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useMay } from '../api/own-key.js';
import { ago, moment } from '../format.js';
import { Button } from '../ui/controls/button.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Field, fieldTexts } from '../ui/controls/field.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Section } from '../ui/page.js';
import { DeleteProjectButton } from './delete-project.js';

interface Props {
  readonly id: string;
  readonly name: string;
  /** Null if the key may not manage the project. */
  readonly project: ProjectObject | null;
  readonly changed: () => void;
}

/** Describes the consequences of archiving, which cannot be undone. */
const archiveText = (name: string): string =>
  `Archive ${name}? Its keys stop working, its queued and running jobs are cancelled and its pools are closed to it. Files, models, history and audit log are kept. This cannot be undone.`;

/** Name, ID and pools of a project, and the actions that end it. */
export function ProjectGeneral({ id, name, project, changed }: Props) {
  const isActive = project?.status === 'active';
  const may = useMay();
  return (
    <div className="settings">
      <Section title="Project">
        {isActive && may('project:admin') ? (
          <NameForm key={project.name} project={project} changed={changed} />
        ) : (
          <p>{name}</p>
        )}
        <dl className="facts">
          <div>
            <dt>Project ID</dt>
            <dd>
              <code className="break">{id}</code> <CopyButton text={id} label="Copy project ID" />
            </dd>
          </div>
          {project && (
            <div>
              <dt>Created</dt>
              <dd title={moment(project.created_at)}>{ago(project.created_at)}</dd>
            </div>
          )}
        </dl>
      </Section>
      {project && (
        <Section title="Pools" text="Pools of workers that its jobs may use.">
          <Pools names={project.graft.pools} archived={!isActive} />
        </Section>
      )}
      {project && may('admin') && id !== 'proj-default' && (
        <Ending project={project} changed={changed} />
      )}
    </div>
  );
}

function NameForm({ project, changed }: { project: ProjectObject; changed: () => void }) {
  const [name, setName] = useState(project.name);
  const [error, setError] = useState<Error | null>(null);
  const [saved, setSaved] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    api.modifyProject(project.id, { name: name.trim() }).then(() => {
      setSaved(true);
      changed();
    }, setError);
  };
  return (
    <form className="bar" onSubmit={submit}>
      <Field id="name" label="Name" problem={error?.message}>
        <input
          id="name"
          required
          maxLength={100}
          value={name}
          aria-describedby={fieldTexts('name', { problem: error })}
          onChange={(e) => {
            setSaved(false);
            setName(e.target.value);
          }}
        />
      </Field>
      <Button type="submit" className="bottom" disabled={name.trim() === project.name}>
        Rename
      </Button>
      <span role="status" className="faint bottom">
        {saved && '✓ saved'}
      </span>
    </form>
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
        <Link key={name} to="/pools/$name" params={{ name }} className="badge">
          {name}
        </Link>
      ))}
    </p>
  );
}

/** Archiving and deletion, for admins. */
function Ending({ project, changed }: { project: ProjectObject; changed: () => void }) {
  const { id, name, status, graft } = project;
  const confirm = useConfirm();
  const navigate = useNavigate();
  const [error, setError] = useState<Error | null>(null);
  const archive = () =>
    confirm(archiveText(name), 'Archive', () =>
      api.archiveProject(id).then(() => navigate({ to: '/projects' }), setError),
    );
  return (
    <Section title="Danger zone" isCard>
      <Failure error={error} />
      {status === 'active' && (
        <div className="setting-row">
          <div>
            <b>Archive this project</b>
            <small className="block">Its keys stop working; everything it made is kept.</small>
          </div>
          <Button onClick={archive}>Archive project</Button>
        </div>
      )}
      {graft.deletes_at === null && (
        <div className="setting-row">
          <div>
            <b>Delete this project</b>
            <small className="block">
              Its files, models and jobs are deleted. It can be restored for some days.
            </small>
          </div>
          <DeleteProjectButton id={id} deleted={changed} />
        </div>
      )}
    </Section>
  );
}
