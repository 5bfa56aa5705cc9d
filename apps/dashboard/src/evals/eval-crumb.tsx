import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { Link } from '../ui/link.js';

/** The way back from a page of an eval to the eval; by its id until its name is known. */
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
