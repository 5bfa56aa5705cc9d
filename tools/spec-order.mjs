// Order of spec files: by project, so that processes are reused within a project, and the slowest files of a project first,
// so that none of them runs alone at the end.
import { BaseSequencer } from 'vitest/node';

/** Slowest files, in order. The others follow in Vitest's order. */
const SLOWEST = [
  'test/chaos/poison.spec.ts',
  'test/trainer/run-bytes.spec.ts',
  'test/chaos/battery.spec.ts',
  'test/chaos/trainer-kill.spec.ts',
  'test/chaos/disk-full.spec.ts',
  'test/e2e/train.spec.ts',
  'test/cli/up.spec.ts',
  'test/e2e/dashboard-looks.spec.ts',
  'test/e2e/dashboard.spec.ts',
  'test/golden/matrix.spec.ts',
  'test/golden/head-matrix.spec.ts',
  'apps/worker/src/agent/ownership.spec.ts',
  'apps/worker/src/agent/hostile-trainer.spec.ts',
  'apps/worker/src/agent/agent.spec.ts',
  'apps/dashboard/src/pages/job.spec.tsx',
];

export class SpecOrder extends BaseSequencer {
  async sort(specifications) {
    const sorted = await super.sort(specifications);
    const projects = this.ctx.projects.map(({ name }) => name);
    const rank = ({ project, moduleId }) => {
      const slow = SLOWEST.findIndex((file) => moduleId.endsWith(`/${file}`));
      return [projects.indexOf(project.name), slow === -1 ? SLOWEST.length : slow];
    };
    const ranked = sorted.map((specification) => ({ specification, rank: rank(specification) }));
    ranked.sort((a, b) => a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1]);
    return ranked.map(({ specification }) => specification);
  }
}
