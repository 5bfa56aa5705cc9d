// Who may import whom, over the whole tree, and no cycles. `npm run lint` runs it.
const room = (name) => `^(libs|apps)/${name}/(src|dist)/`;
const never = (from, to, comment) => ({
  name: `${from}-not-${to.name}`,
  comment,
  severity: 'error',
  from: { path: room(from), pathNot: '\\.spec\\.tsx?$' },
  to: { path: to.path, ...(to.pathNot ? { pathNot: to.pathNot } : {}) },
});
const ours = (names) => ({ name: names.join('-'), path: `^(libs|apps)/(${names.join('|')})/` });
const packages = (name, names) => ({ name, path: `node_modules/(${names.join('|')})(/|$)` });

const servers = packages('servers', ['bullmq', 'ioredis', '@nestjs', 'typeorm', 'pg']);

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-cycle',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    never(
      'contracts',
      ours(['kernels', 'peft-core', 'api', 'worker', 'cli', 'dashboard']),
      'contracts knows nothing of ours',
    ),
    never(
      'kernels',
      ours(['contracts', 'peft-core', 'api', 'worker', 'cli', 'dashboard']),
      'kernels knows nothing of ours',
    ),
    never('peft-core', ours(['api', 'worker', 'cli', 'dashboard']), 'nothing imports upward'),
    never('peft-core', servers, 'the core knows no servers'),
    never(
      'worker',
      ours(['api', 'cli', 'dashboard', 'kernels']),
      'a worker has peft-core and contracts',
    ),
    never('worker', servers, 'a worker has no database and no queue (docs/adr/0003)'),
    never('api', ours(['worker', 'cli', 'dashboard', 'kernels']), 'the API computes nothing'),
    never(
      'api',
      {
        name: 'peft-core-beyond-catalog',
        path: '^libs/peft-core/',
        pathNot: '^libs/peft-core/(src|dist)/(catalog|data)\\.',
      },
      'the API sees the native-free catalogue only',
    ),
    {
      name: 'only-the-reader-process-reads-data',
      comment: 'templates of strangers run in a process of their own (docs/adr/0009)',
      severity: 'error',
      from: { path: room('api'), pathNot: '/preview/reader-(process|protocol)\\.' },
      to: { path: '^libs/peft-core/(src|dist)/data\\.' },
    },
    {
      name: 'nobody-imports-the-reader-process',
      comment: 'it is started, not imported',
      severity: 'error',
      from: { path: room('api') },
      to: { path: '/preview/reader-process\\.' },
    },
    never(
      'cli',
      ours(['kernels', 'peft-core', 'api', 'worker', 'dashboard']),
      'the CLI speaks through the API',
    ),
    never(
      'dashboard',
      ours(['kernels', 'peft-core', 'api', 'worker', 'cli']),
      'the dashboard speaks through the API',
    ),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist-types|build)/' },
    includeOnly: { path: '^(libs|apps)/|node_modules/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
