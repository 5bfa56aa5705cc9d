import { acceptOffered, declineOffered, useOffered } from '../api/session.js';

/** A link carried another API key than the one in use. */
export function OfferedKey() {
  const isOffered = useOffered();
  if (!isOffered) return null;
  return (
    <div role="alert" className="banner">
      The link that was opened carries another API key than the one in use. Switch only if you trust
      who gave it to you: what you do then is done with that key.{' '}
      <button onClick={declineOffered}>Keep my key</button>{' '}
      <button className="quiet" onClick={acceptOffered}>
        Switch to the link's key
      </button>
    </div>
  );
}
