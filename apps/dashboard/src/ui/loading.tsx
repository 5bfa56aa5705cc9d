/** Placeholder for a list that is loading. Renders nothing if loading failed. */
export const Loading = ({ error }: { error: Error | null }) =>
  error ? null : <p className="faint">Loading…</p>;
