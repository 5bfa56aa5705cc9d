import type { JobObject } from '@graft/contracts';
import { MAX_COMPARED } from '@graft/contracts/compared-jobs';
import { Archive, CircleX, GitCompare, Tag, Trash2, Undo2, X } from 'lucide-react';
import { useState, type FormEvent } from 'react';
import { isOver } from '../job/job-text.js';
import { Button, ButtonLink, IconButton } from '../ui/controls/button.js';
import { Menu } from '../ui/overlays/menu.js';
import { tagsOf } from './edit-job.js';
import type { JobActions } from './job-actions.js';

interface Props {
  readonly picked: readonly JobObject[];
  readonly clear: () => void;
  /** Null if the key cannot change jobs. */
  readonly actions: JobActions | null;
}

/** Whether a job has curves. Operations on adapters have none. */
const canCompare = (job: JobObject): boolean => job.graft.operation === null;

/** Bar at the bottom of the window with the actions on the selected jobs. */
export function PickedJobs({ picked, clear, actions }: Props) {
  if (picked.length === 0) return null;
  const areDeleted = picked.some(({ graft }) => graft.restorable_until !== null);
  return (
    <div className="picked-bar" role="group" aria-label="Selected jobs">
      <b>{picked.length} selected</b>
      {!areDeleted && <Compare jobs={picked.filter(canCompare)} />}
      {actions && areDeleted && (
        <Button
          icon={<Undo2 />}
          onClick={() => {
            actions.restore(picked);
            clear();
          }}
        >
          Restore
        </Button>
      )}
      {actions && !areDeleted && <Changes picked={picked} clear={clear} actions={actions} />}
      <IconButton label="Clear selection" icon={<X />} onClick={clear} />
    </div>
  );
}

function Changes({ picked, clear, actions }: Props & { readonly actions: JobActions }) {
  const areArchived = picked.every(({ graft }) => graft.archived);
  const over = picked.filter(isOver).length;
  const open = picked.length - over;
  return (
    <>
      <AddTags add={(tags) => actions.tag(picked, tags)} />
      <Button
        icon={<Archive />}
        onClick={() => {
          actions.archive(picked, !areArchived);
          clear();
        }}
      >
        {areArchived ? 'Unarchive' : 'Archive'}
      </Button>
      {open > 0 && (
        <Button icon={<CircleX />} onClick={() => actions.cancel(picked, clear)}>
          Cancel{open < picked.length && ` ${open}`}
        </Button>
      )}
      {over > 0 && (
        <Button
          icon={<Trash2 />}
          className="danger-text"
          title={open > 0 ? 'Only finished jobs are deleted' : undefined}
          onClick={() => actions.remove(picked, clear)}
        >
          Delete{over < picked.length && ` ${over}`}
        </Button>
      )}
    </>
  );
}

function AddTags({ add }: { add: (tags: readonly string[]) => void }) {
  const [tags, setTags] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (tagsOf(tags).length > 0) add(tagsOf(tags));
    setTags('');
  };
  return (
    <Menu label="Tag" icon={<Tag />}>
      <form className="bar" onSubmit={submit}>
        <input
          aria-label="Tags to add"
          placeholder="tag, tag"
          value={tags}
          onChange={(e) => setTags(e.target.value)}
        />
        <Button type="submit" disabled={tagsOf(tags).length === 0}>
          Add tags
        </Button>
      </form>
    </Menu>
  );
}

function Compare({ jobs }: { jobs: readonly JobObject[] }) {
  const isTooMany = jobs.length > MAX_COMPARED;
  if (jobs.length < 2 || isTooMany)
    return (
      <span className="faint" role="status">
        {isTooMany ? `At most ${MAX_COMPARED} can be compared` : 'Select one more job to compare'}
      </span>
    );
  return (
    <ButtonLink
      icon={<GitCompare />}
      to="/compare"
      search={{ jobs: jobs.map(({ id }) => id).join() }}
    >
      Compare {jobs.length} jobs
    </ButtonLink>
  );
}
