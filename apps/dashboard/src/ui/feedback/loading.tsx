import { Skeleton } from './skeleton.js';

/** Placeholder for a list that is loading. Renders nothing if loading failed. */
export const Loading = ({ error }: { error: Error | null }) =>
  error ? null : <Skeleton height={36} rows={5} />;
