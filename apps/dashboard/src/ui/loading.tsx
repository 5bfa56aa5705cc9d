/** Stands where a list will be; nothing once there is a reason why it will not. */
export const Loading = ({ error }: { error: Error | null }) =>
  error ? null : <p className="faint">Loading…</p>;
