import { duration } from '@graft/contracts/duration';
import { useContact, useLost } from '../api/contact.js';

/**
 * Banner on every page while the server does not respond. The seconds are hidden from screen
 * readers, which would announce each one.
 */
export function ContactBanner() {
  const silentFor = useContact();
  return (
    <div role="status" className={silentFor === null ? undefined : 'banner'}>
      {silentFor !== null && (
        <>
          <span aria-hidden="true">⚠</span> <b>Graft is not responding</b>
          <span aria-hidden="true"> (for {duration(silentFor)})</span>. This page may be out of date
          and keeps trying to reconnect.
        </>
      )}
    </div>
  );
}

/** Notice that only the event stream is interrupted, while the server responds. */
export function StreamLost({ connected }: { connected: boolean }) {
  const lost = useLost();
  if (connected || lost) return null;
  return (
    <p className="notice" role="status">
      Live updates are interrupted; reconnecting. This page may be out of date.
    </p>
  );
}
