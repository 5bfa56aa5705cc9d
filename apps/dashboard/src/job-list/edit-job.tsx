import type { JobObject } from '@graft/contracts';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { jobName } from '../job/job-text.js';
import { Failure } from '../ui/failure.js';
import { Modal } from '../ui/overlays/modal.js';

/** Parses tags such as "red, big". */
export const tagsOf = (text: string): string[] => [
  ...new Set(
    text
      .split(',')
      .map((tag) => tag.trim())
      .filter(Boolean),
  ),
];

interface Props {
  readonly job: JobObject;
  readonly changed: (job: JobObject) => void;
  readonly archive: () => void;
  /** Null while the job is unfinished. */
  readonly remove: (() => void) | null;
  readonly close: () => void;
}

/** Dialog for the name, tags and note of a job, with buttons to archive and delete it. */
export function EditJob({ job, changed, archive, remove, close }: Props) {
  const [name, setName] = useState(job.graft.name);
  const [tags, setTags] = useState(job.graft.tags.join(', '));
  const [note, setNote] = useState(job.graft.note ?? '');
  const [error, setError] = useState<Error | null>(null);
  const save = (event: FormEvent) => {
    event.preventDefault();
    const own = name.trim();
    const fields = {
      // An unchanged default name remains the default.
      ...(own !== job.graft.name && { name: own === '' ? null : own }),
      tags: tagsOf(tags),
      note: note.trim() === '' ? null : note,
    };
    api.changeJob(job.id, fields).then((answer) => {
      changed(answer);
      close();
    }, setError);
  };
  const then = (work: () => void) => () => {
    work();
    close();
  };
  return (
    <Modal className="edit" label={`Edit ${jobName(job)}`} close={close}>
      <form onSubmit={save}>
        <h2>Edit job</h2>
        <label>
          Name
          <input
            value={name}
            maxLength={128}
            placeholder={job.id}
            onChange={(e) => setName(e.target.value)}
          />
        </label>
        <label>
          Tags, separated by commas
          <input value={tags} onChange={(e) => setTags(e.target.value)} />
        </label>
        <label>
          Note
          <textarea
            rows={4}
            value={note}
            maxLength={10_000}
            onChange={(e) => setNote(e.target.value)}
          />
        </label>
        <Failure error={error} />
        <div className="bar">
          <button className="main">Save</button>
          <button type="button" onClick={close}>
            Cancel
          </button>
          <span className="grow" />
          <button type="button" onClick={then(archive)}>
            {job.graft.archived ? 'Unarchive' : 'Archive'}
          </button>
          {remove && (
            <button type="button" onClick={then(remove)}>
              Delete
            </button>
          )}
        </div>
      </form>
    </Modal>
  );
}
