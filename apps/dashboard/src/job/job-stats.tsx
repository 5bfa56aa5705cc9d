import type { CatalogTask, JobObject, MetricsObject } from '@graft/contracts';
import { operationTitle } from '@graft/contracts/job-kinds';
import { ModelSize, SourceModels } from '../models/model-facts.js';
import { Stat, Stats } from '../ui/stat.js';
import {
  parametersFigure,
  resultFigure,
  timeFigure,
  tokensFigure,
  type Figure,
} from './headline.js';

interface Props {
  readonly job: JobObject;
  readonly metrics: MetricsObject;
  readonly task: CatalogTask | undefined;
}

/** The four figures of a run: result, time, size and tokens. */
export function JobStats({ job, metrics, task }: Props) {
  const figures: readonly Figure[] = [
    resultFigure(job, metrics, task),
    timeFigure(job),
    parametersFigure(job),
    tokensFigure(job, metrics),
  ];
  return (
    <Stats label="Results">
      {figures.map((figure) => (
        <Stat key={figure.label} {...figure} />
      ))}
      {job.graft.best_score && (
        <Stat
          label="Best eval score"
          value={`${Math.round(100 * job.graft.best_score.eval_score)} %`}
          note={`step ${job.graft.best_score.step}`}
        />
      )}
    </Stats>
  );
}

/** Figures of an operation on adapters, which trains nothing. */
export function OperationStats({ job }: Pick<Props, 'job'>) {
  const { operation } = job.graft;
  if (!operation) return null;
  return (
    <Stats label="Results">
      <Stat label="Result" value={operationTitle(operation)} />
      <Stat label="From" value={<SourceModels names={operation.adapters} />} />
      <Stat
        label="Size"
        value={job.fine_tuned_model === null ? '–' : <ModelSize name={job.fine_tuned_model} />}
      />
      <Stat {...timeFigure(job)} />
    </Stats>
  );
}
