import { FlaskConical, Plus } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { NewEval } from '../evals/new-eval.js';
import { ago, moment } from '../format.js';
import { Button } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/feedback/loading.js';
import { Page } from '../ui/page.js';
import { Row, Table } from '../ui/table.js';

const SAMPLE = '{"question": "2 + 2?", "answer": "4"}\n{"question": "3 + 5?", "answer": "8"}';

/** List of evals. */
export function EvalsPage() {
  const evals = useLoaded(['evals'], api.evals, 10_000);
  const [isNew, setNew] = useState(false);
  const may = useMay()('jobs:write', 'models:read', 'files:write');
  const create = may && (
    <Button variant="primary" icon={<Plus />} onClick={() => setNew(true)}>
      New eval
    </Button>
  );
  return (
    <Page title="Evals" actions={(evals.value?.length ?? 0) > 0 && create}>
      <Failure error={evals.error} />
      {evals.value === null && <Loading error={evals.error} />}
      {evals.value?.length === 0 && (
        <EmptyState
          icon={<FlaskConical />}
          title="No evals yet"
          text="An eval asks models the same questions and grades their answers, so that you can compare them. Start with a file of questions and answers:"
          actions={create}
        >
          <pre tabIndex={0}>{SAMPLE}</pre>
        </EmptyState>
      )}
      {evals.value !== null && evals.value.length > 0 && (
        <Table columns={['Eval', 'Graders', 'Added']}>
          {evals.value.map((one) => (
            <Row key={one.id}>
              <td className="break">
                <Link to="/evals/$id" params={{ id: one.id }}>
                  <b>{one.name || one.id}</b>
                </Link>
              </td>
              <td className="break">{one.testing_criteria.map(({ name }) => name).join(', ')}</td>
              <td title={moment(one.created_at)}>{ago(one.created_at)}</td>
            </Row>
          ))}
        </Table>
      )}
      {isNew && <NewEval close={() => setNew(false)} />}
    </Page>
  );
}
