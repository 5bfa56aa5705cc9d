import { acceptOffered, declineOffered, useOffered } from '../api/session.js';

/** Notice that a link contained another API key than the one in use. */
export function OfferedKey() {
  const isOffered = useOffered();
  if (!isOffered) return null;
  return (
    <div role="alert" className="banner">
      The link you opened carries a different API key. Switch only if you trust the sender of the
      link: everything you do will then use that key.{' '}
      <button onClick={declineOffered}>Keep my key</button>{' '}
      <button className="quiet" onClick={acceptOffered}>
        Switch to the link's key
      </button>
    </div>
  );
}
