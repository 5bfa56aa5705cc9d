import type { OverviewObject } from '@graft/contracts';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMayRequest } from '../api/own-key.js';
import { Link } from '../ui/link.js';
import { Tip } from '../ui/overlays/tip.js';

type Tone = 'idle' | 'busy' | 'bad';

/** Returns the state of the cluster in a few words. */
function clusterText(overview: OverviewObject): { readonly tone: Tone; readonly text: string } {
  const { workers_online: workers, slots, slots_busy: busy, jobs } = overview;
  const queued = jobs['queued'] ?? 0;
  const waiting = queued === 0 ? '' : ` · ${queued} queued`;
  if (workers === 0) return { tone: 'bad', text: `No worker online${waiting}` };
  return { tone: busy > 0 ? 'busy' : 'idle', text: `${busy}/${slots} slots busy${waiting}` };
}

/** Live state of the cluster at the foot of the navigation, on every page. */
export function ClusterChip({ isSmall }: { isSmall: boolean }) {
  const may = useMayRequest()('jobs:read');
  return may ? <Chip isSmall={isSmall} /> : <div className="cluster-chip" />;
}

function Chip({ isSmall }: { isSmall: boolean }) {
  const overview = useLoaded(['overview'], api.overview, 5000);
  if (!overview.value) return <div className="cluster-chip" />;
  const { tone, text } = clusterText(overview.value);
  const chip = (
    <Link to="/cluster" className={`cluster-chip ${tone}`} aria-label={`Cluster: ${text}`}>
      <span className="dot" aria-hidden="true" />
      {!isSmall && <span>{text}</span>}
    </Link>
  );
  return isSmall ? <Tip text={text}>{chip}</Tip> : chip;
}
