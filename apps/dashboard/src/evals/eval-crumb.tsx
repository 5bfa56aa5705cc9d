import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { Link } from '../ui/link.js';

/** Breadcrumbs of a page below an eval. */
export const evalCrumbs = (id: string) => [
  <Link key="evals" to="/evals">
    Evals
  </Link>,
  <EvalCrumb key="eval" id={id} />,
];

/** Link to an eval. It shows the id until the name is loaded. */
function EvalCrumb({ id }: { readonly id: string }) {
  const { value } = useLoaded(['eval', id], () => api.eval(id));
  return (
    <Link to="/evals/$id" params={{ id }}>
      {value?.name || id}
    </Link>
  );
}
