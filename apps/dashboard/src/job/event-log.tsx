import type { JobEventObject } from '@graft/contracts';
import { useEffect, useRef, useState } from 'react';

/** Events, oldest first. Scrolls with new events until the user scrolls up. */
export function EventLog({ events }: { events: readonly JobEventObject[] }) {
  const [filter, setFilter] = useState('');
  const [steps, setSteps] = useState(true);
  const [tail, setTail] = useState(true);
  const box = useRef<HTMLDivElement>(null);
  const search = filter.toLowerCase();
  const lines = [...events]
    .reverse()
    .filter(
      (event) =>
        (steps || event.type !== 'metrics') && event.message.toLowerCase().includes(search),
    );

  useEffect(() => {
    if (tail && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.length, tail]);

  return (
    <>
      <div className="bar">
        <input
          type="search"
          aria-label="Filter the log"
          placeholder="Filter"
          value={filter}
          onChange={(e) => setFilter(e.target.value)}
        />
        <label>
          <input type="checkbox" checked={steps} onChange={(e) => setSteps(e.target.checked)} />{' '}
          steps
        </label>
        <label>
          <input type="checkbox" checked={tail} onChange={(e) => setTail(e.target.checked)} />{' '}
          follow
        </label>
        <span className="faint">
          {lines.length === events.length ? '' : `${lines.length} of `}
          {events.length} lines
        </span>
      </div>
      <div
        ref={box}
        className="log"
        tabIndex={0}
        role="log"
        aria-label="Events"
        onScroll={({ currentTarget: el }) =>
          setTail(el.scrollHeight - el.scrollTop - el.clientHeight < 24)
        }
      >
        {lines.map((event) => (
          <div key={event.id} className={event.level}>
            <time dateTime={new Date(event.created_at * 1000).toISOString()}>
              {new Date(event.created_at * 1000).toLocaleTimeString()}
            </time>{' '}
            {event.level !== 'info' && <b>{event.level} </b>}
            <span className="pre">{event.message}</span>
          </div>
        ))}
        {lines.length === 0 && <span className="faint">No events yet.</span>}
      </div>
    </>
  );
}
