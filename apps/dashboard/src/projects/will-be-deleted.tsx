import { useState } from 'react';
import { api } from '../api/api.js';
import { moment } from '../format.js';
import { useMay } from '../api/own-key.js';
import { Failure } from '../ui/feedback/failure.js';

/** Date of a project's deletion, with a button to restore it. */
export function WillBeDeleted({
  id,
  at,
  restored,
}: {
  id: string;
  at: number;
  restored: () => void;
}) {
  const may = useMay();
  const [error, setError] = useState<Error | null>(null);
  return (
    <span className="faint">
      will be deleted on {moment(at)}
      {may('admin') && (
        <>
          {' · '}
          <button onClick={() => void api.restoreProject(id).then(restored, setError)}>
            Restore
          </button>
        </>
      )}
      <Failure error={error} />
    </span>
  );
}
