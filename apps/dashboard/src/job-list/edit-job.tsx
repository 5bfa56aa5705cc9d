import type { JobObject } from '@graft/contracts';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { jobName } from '../job/job-text.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
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

export type EditedField = 'name' | 'tags' | 'note';

interface Props {
  readonly job: JobObject;
  /** Field that has the focus first. */
  readonly field: EditedField;
  readonly changed: (job: JobObject) => void;
  readonly close: () => void;
}

/** Dialog for the name, tags and note of a job. */
export function EditJob({ job, field, changed, close }: Props) {
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
  return (
    <Modal className="edit" label={`Edit ${jobName(job)}`} close={close}>
      <form onSubmit={save}>
        <h2>Edit job</h2>
        <label>
          Name
          <input
            value={name}
            autoFocus={field === 'name'}
            maxLength={128}
            placeholder={job.id}
            onChange={(e) => setName(e.target.value)}
          />
        </label>
        <label>
          Tags, separated by commas
          <input
            value={tags}
            autoFocus={field === 'tags'}
            onChange={(e) => setTags(e.target.value)}
          />
        </label>
        <label>
          Note
          <textarea
            rows={4}
            value={note}
            autoFocus={field === 'note'}
            maxLength={10_000}
            onChange={(e) => setNote(e.target.value)}
          />
        </label>
        <Failure error={error} />
        <div className="bar">
          <span className="grow" />
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" variant="primary">
            Save
          </Button>
        </div>
      </form>
    </Modal>
  );
}
