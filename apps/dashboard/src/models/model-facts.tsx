import type { ModelObject } from '@graft/contracts';
import { Fragment } from 'react';
import { api } from '../api/api.js';
import { bytes, modelTitle } from '../format.js';
import { useLoaded, type Loaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { Link } from '../ui/link.js';

/** A model by its name; null where there is none, or this key may not read it. */
export function useModel(name: string | null): Loaded<ModelObject | null> {
  const isAllowed = useMay()('models:read');
  return useLoaded(['model', name, isAllowed], () =>
    name !== null && isAllowed ? api.model(name) : Promise.resolve(null),
  );
}

/** Models that something is made of, each with a link to its job. */
export const SourceModels = ({ names }: { names: readonly string[] }) =>
  names.map((name, i) => (
    <Fragment key={`${i} ${name}`}>
      {i > 0 && ', '}
      <SourceModel name={name} />
    </Fragment>
  ));

/** One that was deleted since is only named. */
function SourceModel({ name }: { name: string }) {
  const job = useModel(name).value?.graft?.job;
  const title = <span title={name}>{modelTitle(name)}</span>;
  return job ? (
    <Link to="/jobs/$id" params={{ id: job }}>
      {title}
    </Link>
  ) : (
    title
  );
}

export function ModelSize({ name }: { name: string }) {
  const size = useModel(name).value?.graft?.bytes;
  return size === undefined ? '–' : bytes(size);
}
