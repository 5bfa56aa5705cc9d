import { api } from '../api/api.js';
import { limitWarning } from './limit-text.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';

/** Project limits that are reached or nearly reached, shown before a job is submitted. */
export function LimitsNear() {
  const may = useMay();
  const isAllowed = may('jobs:read');
  const limits = useLoaded(
    ['limits', 'near', isAllowed],
    async () => (isAllowed ? (await api.limits()).data : []),
    10_000,
  );
  const near = (limits.value ?? []).flatMap((limit) => limitWarning(limit) ?? []);
  if (near.length === 0) return null;
  return (
    <div
      className={near.some(({ refuses }) => refuses) ? 'notice bad' : 'notice warn'}
      role="status"
    >
      {near.map(({ text }) => (
        <div key={text}>{text}</div>
      ))}
    </div>
  );
}
