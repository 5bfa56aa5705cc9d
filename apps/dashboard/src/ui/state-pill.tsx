import type { JobStatus } from '@graft/contracts';
import {
  CircleCheck,
  CircleDashed,
  CircleHelp,
  CirclePause,
  CircleSlash,
  CircleX,
  LoaderCircle,
} from 'lucide-react';

// Shape and word in addition to color, for users who cannot distinguish colors. Color is for what
// needs attention: running, waiting, failed.
const LOOKS = {
  queued: { Icon: CircleDashed, word: 'queued', tone: 'wait' },
  running: { Icon: LoaderCircle, word: 'running', tone: 'live' },
  paused: { Icon: CirclePause, word: 'paused', tone: 'wait' },
  succeeded: { Icon: CircleCheck, word: 'succeeded', tone: 'off' },
  failed: { Icon: CircleX, word: 'failed', tone: 'bad' },
  cancelled: { Icon: CircleSlash, word: 'cancelled', tone: 'off' },
} as const satisfies Record<JobStatus, object>;

interface StateProps {
  readonly status: JobStatus;
}

function State({ status, className }: StateProps & { className: string }) {
  const { Icon, word, tone } = LOOKS[status] ?? { Icon: CircleHelp, word: status, tone: 'off' };
  return (
    <span className={`${className} ${tone}`}>
      <Icon aria-hidden="true" className={tone === 'live' ? 'ring' : ''} /> {word}
    </span>
  );
}

/** State of a job in a page's header. */
export const StatePill = (props: StateProps) => <State {...props} className="pill" />;

/** State of a job in a table or list. */
export const StateDot = (props: StateProps) => <State {...props} className="state-dot" />;
