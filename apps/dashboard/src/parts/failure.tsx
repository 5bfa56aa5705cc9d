import { ApiError } from '../api.js';
import { signOut } from '../session.js';

/** What went wrong with a request, in the server's own words, and the way out where one is known. */
export function Failure({ error }: { error: Error | null }) {
  if (!error) return null;
  const refused = error instanceof ApiError ? error : null;
  return (
    <p className="notice bad" role="alert">
      {refused?.param && <code>{refused.param}</code>} {error.message}
      {refused?.status === 401 && <button onClick={signOut}>Use another key</button>}
    </p>
  );
}
