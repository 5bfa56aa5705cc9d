// Import rules between projects and folders, without cycles. `npm run lint` checks them.
const project = (name) => `^(libs|apps)/${name}/(src|dist)/`;
const never = (from, to, comment) => ({
  name: `${from}-not-${to.name}`,
  comment,
  severity: 'error',
  from: { path: project(from), pathNot: '\\.spec\\.tsx?$' },
  to: { path: to.path, ...(to.pathNot ? { pathNot: to.pathNot } : {}) },
});
const ours = (names) => ({ name: names.join('-'), path: `^(libs|apps)/(${names.join('|')})/` });
const packages = (name, names) => ({ name, path: `node_modules/(${names.join('|')})(/|$)` });

/**
 * Layers of a project, lowest first: a file may import from its own folder and from earlier ones, including types. Every
 * folder may import the files `ground` at the top level; the other top-level files are entry points.
 */
const layers = (name, ground, folders) => {
  const inside = (names) => `^(libs|apps)/${name}/src/(${names.join('|')})`;
  const any = folders.map((folder) => `${folder}/`);
  return [
    ...folders.slice(0, -1).map((folder, n) => ({
      name: `${name}-${folder}-imports-downward`,
      comment: `layers of ${name}, lowest first: ${folders.join(', ')}`,
      severity: 'error',
      from: { path: inside([`${folder}/`]), pathNot: '\\.spec\\.tsx?$' },
      to: { path: inside(any.slice(n + 1)) },
    })),
    {
      name: `${name}-folders-do-not-import-what-starts-them`,
      severity: 'error',
      from: { path: inside(any), pathNot: '\\.spec\\.tsx?$' },
      to: {
        path: inside(['[^/]+$']),
        ...(ground.length > 0 ? { pathNot: inside(ground.map((file) => `${file}\\.`)) } : {}),
      },
    },
    {
      name: `${name}-folder-without-a-layer`,
      comment: 'add the folder to its layer in .dependency-cruiser.cjs',
      severity: 'error',
      from: { path: inside(['[^/]+/']), pathNot: inside(any) },
      to: {},
    },
  ];
};

/** Layers of the API; see docs/adr/0010. */
const API_LAYERS = [
  'catalog',
  'database',
  'blobs',
  'backup',
  'http',
  'limits',
  'auth',
  'metrics',
  'queue',
  'wake',
  'claims',
  'outbound',
  'sandbox',
  'webhooks',
  'lifecycle',
  'history',
  'integrations',
  'traces',
  'files',
  'models',
  'events',
  'preview',
  'stream',
  'relay',
  'workers',
  'dispatch',
  'jobs',
  'sweeps',
  'projects',
  'chat',
  'graders',
  'evals',
  'batches',
  'worker-service',
  'scaling',
  'health',
  'retention',
];

/** Layers of the worker. `trainer` and `run` are separate processes, which the agent only starts. */
const WORKER_LAYERS = [
  'protocol',
  'trainer',
  'run',
  'connection',
  'events',
  'blobs',
  'trainer-pool',
  'attempts',
  'requests',
  'agent',
];

/** Layers of peft-core; see docs/adr/0031. */
const CORE_LAYERS = [
  'nn',
  'quant',
  'data',
  'models',
  'tasks',
  'datasets',
  'generate',
  'methods',
  'io',
  'train',
  'adapters',
  'catalog',
];

/** Layers of the dashboard. `ui`, `forms`, `charts` and `media` are independent of features; a feature is a folder, and `pages` combine features. */
const DASHBOARD_LAYERS = [
  'browser',
  'api',
  'ui',
  'forms',
  'charts',
  'media',
  'files',
  'models',
  'projects',
  'workers',
  'operate',
  'sweeps',
  'evals',
  'chat',
  'job-fixes',
  'job',
  'job-list',
  'job-page',
  'new-job',
  'shell',
  'pages',
  'gallery',
];

/** Layers of the CLI. `command-line` parses options and arguments; `requests` builds request bodies. */
const CLI_LAYERS = [
  'config',
  'client',
  'find',
  'output',
  'command-line',
  'completion',
  'requests',
  'system',
  'openai-import',
  'up',
  'example',
  'commands',
];

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
      ours(['kernels', 'peft-core', 'examples', 'api', 'worker', 'cli', 'dashboard']),
      'contracts imports none of our projects',
    ),
    never(
      'kernels',
      ours(['contracts', 'peft-core', 'examples', 'api', 'worker', 'cli', 'dashboard']),
      'kernels imports none of our projects',
    ),
    never(
      'examples',
      ours(['contracts', 'kernels', 'peft-core', 'api', 'worker', 'cli', 'dashboard']),
      'the examples import none of our projects',
    ),
    never(
      'peft-core',
      ours(['examples', 'api', 'worker', 'cli', 'dashboard']),
      'nothing imports upward',
    ),
    never('peft-core', servers, 'the core knows no servers'),
    ...layers(
      'peft-core',
      ['interruptible-work', 'parse-options', 'plug-in-registry'],
      CORE_LAYERS,
    ),
    never(
      'worker',
      ours(['examples', 'api', 'cli', 'dashboard', 'kernels']),
      'a worker has peft-core and contracts',
    ),
    ...layers('worker', ['scripts'], WORKER_LAYERS),
    never('worker', servers, 'a worker has no database and no queue (docs/adr/0003)'),
    never(
      'api',
      ours(['examples', 'worker', 'cli', 'dashboard', 'kernels']),
      'the API computes nothing',
    ),
    never(
      'api',
      {
        name: 'peft-core-beyond-catalog',
        path: '^libs/peft-core/',
        pathNot: '^libs/peft-core/(src|dist)/(catalog|data|media)\\.',
      },
      'the API sees the native-free catalogue only',
    ),
    {
      name: 'one-file-imports-the-catalogue',
      comment: 'lists all imports of the API from this project in one place',
      severity: 'error',
      from: {
        path: project('api'),
        pathNot: '/(catalog/plugins|models/imports/inspect-process)\\.|\\.spec\\.ts$',
      },
      to: { path: '^libs/peft-core/(src|dist)/catalog\\.' },
    },
    {
      name: 'only-the-reader-process-reads-data',
      comment: 'untrusted templates run in a separate process (docs/adr/0009)',
      severity: 'error',
      from: { path: project('api'), pathNot: '/preview/reader-(process|protocol)\\.' },
      to: { path: '^libs/peft-core/(src|dist)/data\\.' },
    },
    {
      name: 'only-the-archive-process-decodes-media',
      comment: 'untrusted images and audio are decoded in a separate process (docs/adr/0009)',
      severity: 'error',
      from: { path: project('api'), pathNot: '/files/archives/media-records\\.' },
      to: { path: '^libs/peft-core/(src|dist)/media\\.' },
    },
    {
      name: 'only-the-archive-process-reads-archives',
      comment: 'it is started as a process, not imported',
      severity: 'error',
      from: { path: project('api'), pathNot: '/files/archives/archive-process\\.|\\.spec\\.ts$' },
      to: { path: '/files/archives/(archive-process|media-records)\\.' },
    },
    {
      name: 'only-confined-processes-unpack',
      comment: 'untrusted archives are unpacked in separate processes (docs/adr/0009)',
      severity: 'error',
      from: {
        path: project('api'),
        pathNot:
          '/(files/archives/(tar-archive|zip-archive|zip-contents|unpack-process)|models/imports/adapter-zip)\\.',
      },
      to: { path: 'node_modules/(@types/)?(tar-stream|yauzl)/' },
    },
    {
      name: 'confined-processes-alone-import-what-unpacks',
      severity: 'error',
      from: {
        path: project('api'),
        pathNot:
          '/(files/archives/(media-records|unpack-process|zip-contents)|models/imports/inspect-process)\\.|\\.spec\\.ts$',
      },
      to: {
        path: '/(files/archives/(tar-archive|zip-archive|zip-contents)|models/imports/adapter-zip)\\.',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'nobody-imports-a-confined-process',
      comment: 'it is started as a process, not imported',
      severity: 'error',
      from: { path: project('api') },
      to: {
        path: '/(files/rows/table|files/archives/unpack|models/imports/inspect|preview/reader)-process\\.',
      },
    },
    ...layers(
      'api',
      ['config', 'faults', 'ids', 'log', 'logged-error', 'readiness', 'scripts'],
      API_LAYERS,
    ),
    never(
      'cli',
      ours(['kernels', 'peft-core', 'api', 'worker', 'dashboard']),
      'the CLI speaks through the API',
    ),
    ...layers('cli', ['called', 'cli-error', 'mcp-tools', 'paths'], CLI_LAYERS),
    never(
      'dashboard',
      ours(['kernels', 'peft-core', 'examples', 'api', 'worker', 'cli']),
      'the dashboard speaks through the API',
    ),
    ...layers('dashboard', ['address', 'format', 'routes'], DASHBOARD_LAYERS),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    doNotFollow: { path: 'node_modules' },
    // Check the source of the dashboard, not Vite's chunks.
    exclude: { path: '(^|/)(dist-types|bundle|build)/|^apps/dashboard/dist/' },
    includeOnly: { path: '^(libs|apps)/|node_modules/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
