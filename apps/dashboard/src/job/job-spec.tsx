import type { JobObject } from '@graft/contracts';
import { createBody } from '@graft/contracts/compared-jobs';
import { operationBody } from '@graft/contracts/job-kinds';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Loading } from '../ui/feedback/loading.js';
import { fieldsOf } from '../forms/schema-fields.js';

export function SpecView({ job }: { job: JobObject }) {
  const catalog = useLoaded(['catalog'], api.catalog);
  if (!catalog.value) return <Loading error={catalog.error} />;
  const options = fieldsOf(catalog.value.graft_schema).map(({ name }) => name);
  const operation = operationBody(job);
  const text = JSON.stringify(operation ?? createBody(job, options), null, 2);
  return (
    <>
      <p className="bar">
        <CopyButton text={text} label="Copy spec" />
        <span className="faint">
          The body of POST /v1/{operation ? 'adapters/operations' : 'fine_tuning/jobs'} that makes
          this job again.
        </span>
      </p>
      <pre className="spec" tabIndex={0} role="region" aria-label="The body of the request">
        {text}
      </pre>
    </>
  );
}
