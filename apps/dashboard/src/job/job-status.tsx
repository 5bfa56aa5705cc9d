import type { JobObject, PoolObject } from '@graft/contracts';
import { useState, type FormEvent, type ReactNode } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Menu } from '../ui/overlays/menu.js';
import { Progress } from '../ui/feedback/progress.js';
import { Link } from '../ui/link.js';
import { isOver, queuePlace, silence } from './job-text.js';
import { SharedProcess } from './shared-process.js';

const DEFAULT_POOL = 'default';

interface Props {
  readonly job: JobObject;
  readonly changed: (job: JobObject) => void;
  readonly onError: (error: Error | null) => void;
  /** Queues a copy of the job in another pool and cancels this one. */
  readonly moveTo: (pool: string) => void;
}

/** One line with what an unfinished job does or waits for, and the action that shortens the wait. */
export function JobStatus(props: Props) {
  const { job } = props;
  if (isOver(job)) return null;
  const silent = silence(job);
  return (
    <div className="job-status">
      {job.status === 'queued' ? (
        <Waiting {...props} />
      ) : (
        <>
          {!job.graft.operation && job.graft.progress.total_steps !== null && (
            <Progress job={job} />
          )}
          {silent ? (
            <span className="silent" role="status">
              <span aria-hidden="true">⚠</span> {silent}
            </span>
          ) : (
            <span className="faint">{job.graft.phase.message}</span>
          )}
          <SharedProcess job={job} />
        </>
      )}
    </div>
  );
}

/** Explains why no worker takes a queued job, regardless of its position. Null if one may. */
function whyNobody(name: string, pool: PoolObject | null): string | null {
  if (pool?.cordoned) return `Pool ${name} is cordoned: no jobs start until it is uncordoned`;
  if (pool && pool.workers.online > 0) return null;
  if (pool && pool.workers.cordoned > 0)
    return `Every worker of pool ${name} is cordoned: the job waits until one is uncordoned or joins`;
  return `No worker in pool ${name}`;
}

/** Loads the pool. Null if it does not exist or this key cannot see it. */
const poolOrNone = async (name: string): Promise<PoolObject | null> =>
  (await api.poolNamed(name)).data[0] ?? null;

function Waiting(props: Props) {
  const { job, moveTo } = props;
  const may = useMay();
  const { pool } = job.graft;
  const found = useLoaded(
    ['pool-named', pool],
    async () => ({ pool: await poolOrNone(pool) }),
    5000,
  );
  const why = found.value && whyNobody(pool, found.value.pool);
  const place = queuePlace(job);
  if (why)
    return (
      <Line text={place ? `${why}: ${place}` : why} tone="warn">
        <ButtonLink to="/cluster" size="s">
          Add a worker
        </ButtonLink>
        {pool !== DEFAULT_POOL && may('jobs:write') && (
          <Button size="s" onClick={() => moveTo(DEFAULT_POOL)}>
            Use pool {DEFAULT_POOL}
          </Button>
        )}
        {may('jobs:write') && <Order {...props} />}
      </Line>
    );
  return (
    <Line text={place ? `${job.graft.phase.message}: ${place}` : job.graft.phase.message}>
      {may('jobs:write') && <Order {...props} />}
    </Line>
  );
}

interface LineProps {
  readonly text: string;
  readonly tone?: 'warn';
  readonly children: ReactNode;
}

const Line = ({ text, tone, children }: LineProps) => (
  <>
    <span role="status" className={tone === 'warn' ? 'silent' : undefined}>
      {text}
    </span>
    <span className="job-status-actions">{children}</span>
  </>
);

/** Moves the job in its queue: to the front, or by its priority. */
function Order({ job, changed, onError }: Props) {
  const now = job.graft.priority;
  const move = (priority: number) => {
    onError(null);
    api.changeJob(job.id, { priority }).then(changed, onError);
  };
  return (
    <>
      {now > 1 && job.graft.queue_position !== 1 && (
        <Button size="s" onClick={() => move(1)}>
          Move to front
        </Button>
      )}
      <Menu label={`Priority ${now}`}>
        <PriorityForm key={now} now={now} move={move} />
      </Menu>
    </>
  );
}

function PriorityForm({ now, move }: { now: number; move: (priority: number) => void }) {
  const [typed, setTyped] = useState(String(now));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    move(Number(typed));
  };
  return (
    <form className="stack" onSubmit={submit}>
      <label htmlFor="priority">Priority</label>
      <input
        id="priority"
        type="number"
        min={1}
        max={1000}
        required
        value={typed}
        aria-describedby="priority-help"
        onChange={(e) => setTyped(e.target.value)}
      />
      <small id="priority-help">Jobs with lower numbers run first</small>
      <button disabled={typed === String(now)}>Set priority</button>
    </form>
  );
}

/** Returns a function that asks before a job is queued again in another pool. */
export function useMoveTo(job: JobObject | undefined, move: (pool: string) => void) {
  const confirm = useConfirm();
  return (pool: string) => {
    if (!job) return;
    const text = `Run in pool ${pool}? An identical job is queued there, and this one is cancelled.`;
    confirm(text, `Use pool ${pool}`, () => move(pool), { isDanger: false });
  };
}

/** Links to the pages above a job: the list, and its sweep. */
export function jobCrumbs(job: JobObject | undefined): ReactNode[] {
  const sweep = job?.graft.sweep;
  return [
    <Link key="jobs" to="/">
      Jobs
    </Link>,
    ...(sweep
      ? [
          <Link key="sweep" to="/sweeps/$id" params={{ id: sweep.id }}>
            Trial {sweep.trial} of a sweep
          </Link>,
        ]
      : []),
  ];
}
