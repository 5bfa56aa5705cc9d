import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';

/** Placeholder of a job's page with the heights of its parts. */
export const JobSkeleton = () => (
  <Page title={<Skeleton height={28} width={240} />} crumbs={[<span key="jobs">Jobs</span>]}>
    <div className="job-skeleton">
      <Skeleton height={91} />
      <Skeleton height={40} />
      <Skeleton height={370} />
    </div>
  </Page>
);
