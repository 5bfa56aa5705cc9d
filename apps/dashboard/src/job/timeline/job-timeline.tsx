import type { JobObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { Download } from 'lucide-react';
import { useState } from 'react';
import { trace } from '../../api/download.js';
import { moment } from '../../format.js';
import { Button } from '../../ui/controls/button.js';
import { Section } from '../../ui/page.js';
import { Row, Table } from '../../ui/table.js';
import { waitedForOthers } from '../job-text.js';
import { spansOf, type Span } from './timeline.js';

const NUMBERS = ['Duration'];
const COLUMNS = ['What', 'Started', 'Duration', 'Details'];

interface Props {
  readonly job: JobObject;
  readonly onError: (error: Error) => void;
}

/** Waits and attempts of a job as one bar, and its trace to download. */
export function JobTimeline({ job, onError }: Props) {
  const spans = spansOf(job);
  const [open, setOpen] = useState<number | null>(null);
  const waited = waitedForOthers(job);
  return (
    <Section
      title="Timeline"
      actions={
        <Button
          size="s"
          icon={<Download />}
          title="Open it at ui.perfetto.dev or chrome://tracing"
          onClick={() => trace(job.id).catch(onError)}
        >
          Download trace
        </Button>
      }
    >
      <TimelineBar spans={spans} open={open} setOpen={setOpen} />
      {waited && <p className="faint">{waited}.</p>}
      <Table columns={COLUMNS} numbers={NUMBERS}>
        {spans.map(({ kind, title, detail, from, to }, n) => (
          <Row key={n} className={n === open ? 'selected' : undefined}>
            <td>
              <i className={`span-mark ${kind}`} aria-hidden="true" /> {title}
            </td>
            <td>{moment(from)}</td>
            <td>{duration(to - from)}</td>
            <td className="break">{detail || '–'}</td>
          </Row>
        ))}
      </Table>
    </Section>
  );
}

interface BarProps {
  readonly spans: readonly Span[];
  readonly open: number | null;
  readonly setOpen: (open: number | null) => void;
}

/** Spans as parts of one bar, as wide as they are long. A click marks the row of a part. */
function TimelineBar({ spans, open, setOpen }: BarProps) {
  return (
    <div className="timeline" role="group" aria-label="Waits and attempts">
      {spans.map(({ kind, title, detail, from, to }, n) => (
        <button
          key={n}
          type="button"
          className={`span ${kind}`}
          style={{ flexGrow: Math.max(0.01, to - from) }}
          aria-pressed={n === open}
          aria-label={[title, duration(to - from), detail].filter(Boolean).join(', ')}
          title={[title, duration(to - from), detail].filter(Boolean).join(' · ')}
          onClick={() => setOpen(n === open ? null : n)}
        >
          <span>{kind === 'wait' ? duration(to - from) : title}</span>
        </button>
      ))}
    </div>
  );
}
