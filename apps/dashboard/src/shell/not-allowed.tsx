import type { Scope } from '@graft/contracts';

/** Replacement for a page that this tab's key may not use. */
export function NotAllowed({ page, missing }: { page: string; missing: readonly Scope[] }) {
  return (
    <main>
      <h1>{page}</h1>
      <p className="notice" role="alert">
        This key cannot access this page: it is missing{' '}
        {missing.map((scope, i) => (
          <span key={scope}>
            {i > 0 && ', '}
            <code>{scope}</code>
          </span>
        ))}
        . Sign in with a key that has {missing.length === 1 ? 'it' : 'them'}, or ask the admin who
        created yours.
      </p>
    </main>
  );
}
