import { ApiError } from '../../api/request.js';

/** Error message of a request. */
export function Failure({ error }: { error: Error | null }) {
  if (!error) return null;
  const param = error instanceof ApiError ? error.param : null;
  const field = param && !error.message.includes(param) ? param : null;
  return (
    <p className="notice bad" role="alert">
      {field && <code>{field}</code>} <span className="pre">{error.message}</span>
    </p>
  );
}
