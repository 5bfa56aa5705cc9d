import { ApiError } from '../api.js';

/** What went wrong with a request, in the server's own words. */
export function Failure({ error }: { error: Error | null }) {
  if (!error) return null;
  const field = error instanceof ApiError ? error.param : null;
  return (
    <p className="notice bad" role="alert">
      {field && <code>{field}</code>} <span className="pre">{error.message}</span>
    </p>
  );
}
