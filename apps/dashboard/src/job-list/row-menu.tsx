import type { JobObject } from '@graft/contracts';
import {
  Archive,
  ArchiveRestore,
  CirclePause,
  CirclePlay,
  CircleX,
  Copy,
  Eye,
  GitCompare,
  Hash,
  PencilLine,
  SquareArrowOutUpRight,
  StickyNote,
  Tag,
  Trash2,
  Undo2,
} from 'lucide-react';
import { canPause, isOver, jobName } from '../job/job-text.js';
import { Link } from '../ui/link.js';
import { OpenActionMenu } from '../ui/overlays/loaded-menu.js';
import { LINE, type Action } from '../ui/overlays/menu.js';
import type { EditedField } from './edit-job.js';
import type { JobActions } from './job-actions.js';

interface Props {
  readonly job: JobObject;
  /** Button that opened it. */
  readonly anchor: Element;
  /** Null if the key cannot change jobs. */
  readonly actions: JobActions | null;
  readonly peek: (job: JobObject) => void;
  readonly edit: (job: JobObject, field: EditedField) => void;
  readonly pick: (job: JobObject) => void;
  readonly close: () => void;
}

const hasEnded = 'It has ended';

/** Menu of the actions on one job. */
export function RowMenu({ job, anchor, actions, peek, edit, pick, close }: Props) {
  const isDeleted = job.graft.restorable_until !== null;
  const open: Action[] = [
    {
      label: 'Open',
      icon: <SquareArrowOutUpRight />,
      shortcut: 'Enter',
      act: <Link to="/jobs/$id" params={{ id: job.id }} />,
    },
    { label: 'Peek', icon: <Eye />, shortcut: 'Space', act: () => peek(job) },
    {
      label: 'Copy ID',
      icon: <Hash />,
      act: () => navigator.clipboard.writeText(job.id),
    },
  ];
  if (isDeleted)
    return (
      <OpenActionMenu
        label={`Actions for ${jobName(job)}`}
        anchor={anchor}
        close={close}
        actions={
          actions
            ? [{ label: 'Restore', icon: <Undo2 />, act: () => actions.restore([job]) }]
            : open
        }
      />
    );
  const compare: Action = {
    label: 'Select to compare',
    icon: <GitCompare />,
    shortcut: 'x',
    act: () => pick(job),
  };
  return (
    <OpenActionMenu
      label={`Actions for ${jobName(job)}`}
      anchor={anchor}
      close={close}
      actions={[
        ...open,
        ...(job.graft.operation ? [] : ([LINE, compare] as const)),
        ...(actions ? changes(job, actions, edit) : []),
      ]}
    />
  );
}

/** Returns the actions that change a job. */
function changes(
  job: JobObject,
  actions: JobActions,
  edit: Props['edit'],
): readonly (Action | typeof LINE)[] {
  const { archived } = job.graft;
  const over = isOver(job);
  const isPaused = job.status === 'paused';
  const clone: Action = {
    label: 'Clone',
    icon: <Copy />,
    act: <Link to="/new" search={{ from: job.id }} />,
  };
  return [
    ...(job.graft.operation ? [] : [clone]),
    LINE,
    { label: 'Rename…', icon: <PencilLine />, act: () => edit(job, 'name') },
    { label: 'Tag…', icon: <Tag />, act: () => edit(job, 'tags') },
    { label: 'Note…', icon: <StickyNote />, act: () => edit(job, 'note') },
    LINE,
    ...(over || !canPause(job)
      ? []
      : [
          {
            label: isPaused ? 'Resume' : 'Pause',
            icon: isPaused ? <CirclePlay /> : <CirclePause />,
            act: () => (isPaused ? actions.resume(job) : actions.pause(job)),
          },
        ]),
    {
      label: 'Cancel job…',
      icon: <CircleX />,
      isDanger: !over,
      unavailable: over ? hasEnded : null,
      act: () => actions.cancel([job]),
    },
    {
      label: archived ? 'Unarchive' : 'Archive',
      icon: archived ? <ArchiveRestore /> : <Archive />,
      act: () => actions.archive([job], !archived),
    },
    {
      label: 'Delete…',
      icon: <Trash2 />,
      isDanger: over,
      unavailable: over ? null : 'Cancel it first',
      act: () => actions.remove([job]),
    },
  ];
}
