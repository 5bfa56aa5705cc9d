import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { Link } from '../ui/link.js';

/** Breadcrumb from a page of an eval to the eval. Shows its id until its name is loaded. */
export function EvalCrumb({ id }: { readonly id: string }) {
  const { value } = useLoaded(['eval', id], () => api.eval(id));
  return (
    <p className="crumb">
      <Link to="/evals">Evals</Link> /{' '}
      <Link to="/evals/$id" params={{ id }}>
        {value?.name || id}
      </Link>
    </p>
  );
}
