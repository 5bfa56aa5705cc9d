import type { ModelObject } from '@graft/contracts';
import { Fragment } from 'react';
import { api } from '../api/api.js';
import { bytes, modelTitle } from '../format.js';
import { useLoaded, type Loaded } from '../api/loaded.js';
import { useMayRequest } from '../api/own-key.js';
import { Link } from '../ui/link.js';

/** Loads a model by name. Null if it does not exist or this key cannot read it. */
export function useModel(name: string | null): Loaded<ModelObject | null> {
  const isAllowed = useMayRequest()('models:read');
  return useLoaded(['model', name, isAllowed], () =>
    name !== null && isAllowed ? api.model(name) : Promise.resolve(null),
  );
}

/** Links to the jobs of an operation's source models. */
export const SourceModels = ({ names }: { names: readonly string[] }) =>
  names.map((name, i) => (
    <Fragment key={`${i} ${name}`}>
      {i > 0 && ', '}
      <SourceModel name={name} />
    </Fragment>
  ));

/** Source model. Deleted models are shown without a link. */
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
