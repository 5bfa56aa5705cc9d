import { useLocation } from '@tanstack/react-router';
import { Link } from '../ui/link.js';

export function PageNotFound() {
  const { pathname } = useLocation();
  return (
    <main>
      <h1>Page not found</h1>
      <p>
        There is no page at <code>{pathname}</code>. <Link to="/">Go to jobs</Link>
      </p>
    </main>
  );
}
