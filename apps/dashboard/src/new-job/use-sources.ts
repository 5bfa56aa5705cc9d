import type { Catalog, FileObject, JobObject, ModelObject, WorkerObject } from '@graft/contracts';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';

/** Number of recent jobs, whose base models are suggested first. */
const RECENT = 20;

/** Objects that the form chooses from. Null until all are loaded. */
export function useSources() {
  const may = useMay();
  const catalog = useLoaded(['catalog'], api.catalog);
  const models = useLoaded(['models'], async () => (await api.models()).data);
  const files = useLoaded(['files', 'fine-tune'], async () => (await api.files('fine-tune')).data);
  const pools = useLoaded(['pools'], async () => (await api.pools()).data);
  const workers = useLoaded(['workers-for-fit', may('jobs:read')], async () =>
    may('jobs:read') ? (await api.workers()).data : [],
  );
  const recent = useLoaded(['recent-jobs', may('jobs:read')], async () =>
    may('jobs:read') ? (await api.jobs(new URLSearchParams(), undefined, RECENT)).data : [],
  );
  const error = catalog.error ?? models.error ?? files.error;
  // The form works without these lists, which only improve its suggestions.
  const poolsKnown = pools.value?.map(({ id }) => id) ?? (pools.error && []);
  const workersKnown: readonly WorkerObject[] | null = workers.value ?? (workers.error && []);
  const jobsKnown: readonly JobObject[] | null = recent.value ?? (recent.error && []);
  const isReady = catalog.value && models.value && files.value;
  if (!isReady || !poolsKnown || !workersKnown || !jobsKnown) return { error, sources: null };
  return {
    error,
    sources: {
      catalog: catalog.value as Catalog,
      models: models.value as readonly ModelObject[],
      files: files.value as readonly FileObject[],
      pools: poolsKnown,
      workers: workersKnown,
      jobs: jobsKnown,
      filesChanged: files.reload,
    },
  };
}
