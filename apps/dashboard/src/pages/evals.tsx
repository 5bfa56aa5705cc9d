import { api } from '../api/api.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { Row, Table } from '../ui/table.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';

/** List of evals. */
export function EvalsPage() {
  const evals = useLoaded(['evals'], api.evals, 10_000);
  return (
    <main>
      <h1>Evals</h1>
      <Failure error={evals.error} />
      {evals.value === null && <Loading error={evals.error} />}
      {evals.value?.length === 0 && (
        <div className="card">
          <h2>No evals yet</h2>
          <p>
            An eval grades models’ answers item by item, so that you can compare models. Create one
            with <code>graft evals create eval.json</code> or OpenAI’s SDK, or import yours from
            OpenAI: <code>graft import-openai PATH</code>.
          </p>
        </div>
      )}
      {evals.value !== null && evals.value.length > 0 && (
        <Table columns={['Eval', 'Graders', 'Added']}>
          {evals.value.map((one) => (
            <Row key={one.id}>
              <td className="break">
                <Link to="/evals/$id" params={{ id: one.id }}>
                  {one.name || one.id}
                </Link>
              </td>
              <td className="break">{one.testing_criteria.map(({ name }) => name).join(', ')}</td>
              <td className="numbers" title={moment(one.created_at)}>
                {ago(one.created_at)}
              </td>
            </Row>
          ))}
        </Table>
      )}
    </main>
  );
}
