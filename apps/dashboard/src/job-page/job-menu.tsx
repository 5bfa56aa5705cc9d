import type { JobObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { Archive, Copy, Link2, Tag, Trash2, Zap } from 'lucide-react';
import { useState } from 'react';
import { useMay } from '../api/own-key.js';
import { isOver, jobName } from '../job/job-text.js';
import { EditJob } from '../job-list/edit-job.js';
import { useJobActions } from '../job-list/job-actions.js';
import { Failure } from '../ui/feedback/failure.js';
import { ActionMenu, LINE, type Action } from '../ui/overlays/menu.js';
import { useToast } from '../ui/overlays/toasts.js';

interface Props {
  readonly job: JobObject;
  readonly changed: (job: JobObject) => void;
  /** Kills the trainer of the running job; null if it does not run or the user may not. */
  readonly interrupt: (() => void) | null;
}

/** Returns the items if the condition holds. */
const only = (condition: boolean, ...items: (Action | typeof LINE)[]): (Action | typeof LINE)[] =>
  condition ? items : [];

/** Menu of the rare actions of a job, with the dialog for its tags and note. */
export function JobMenu({ job, changed, interrupt }: Props) {
  const may = useMay();
  const toast = useToast();
  const navigate = useNavigate();
  const [isEditing, setEditing] = useState(false);
  const { archive, remove, error } = useJobActions(changed);
  const setArchived = () => archive([job], !job.graft.archived);
  const removeIt = () => {
    remove([job]);
    void navigate({ to: '/' });
  };
  const copy = (text: string, what: string) => () =>
    void navigator.clipboard.writeText(text).then(() => toast(`Copied ${what}.`));
  const actions: readonly (Action | typeof LINE)[] = [
    ...only(may('jobs:write'), {
      label: 'Edit name, tags and note…',
      icon: <Tag />,
      act: () => setEditing(true),
    }),
    { label: 'Copy job ID', icon: <Copy />, act: copy(job.id, 'the job ID') },
    { label: 'Copy link', icon: <Link2 />, act: copy(location.href, 'the link') },
    ...only(interrupt !== null, LINE, {
      label: 'Pull the plug…',
      icon: <Zap />,
      isDanger: true,
      act: () => interrupt?.(),
    }),
    ...only(
      may('jobs:write'),
      LINE,
      {
        label: job.graft.archived ? 'Unarchive' : 'Archive',
        icon: <Archive />,
        act: setArchived,
      },
      {
        label: 'Delete',
        icon: <Trash2 />,
        isDanger: true,
        unavailable: isOver(job) ? null : 'Cancel the job first',
        act: removeIt,
      },
    ),
  ];
  return (
    <>
      <ActionMenu label={`Actions for ${jobName(job)}`} actions={actions} />
      <Failure error={error} />
      {isEditing && (
        <EditJob job={job} field="name" changed={changed} close={() => setEditing(false)} />
      )}
    </>
  );
}
