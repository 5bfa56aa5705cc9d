// Each invariant of the load other than training has planted violations that it must find. It must find none
// in a clean record.
import { describe, expect, it } from 'vitest';
import { checkAdapters, type AdapterEvidence } from './battery/kinds/adapters.js';
import { checkEvals, type RunEvidence } from './battery/kinds/evals.js';
import { checkExports, type ExportEvidence } from './battery/kinds/exports.js';
import { checkImports, type ImportEvidence } from './battery/kinds/imports.js';
import { checkPushes, type PushEvidence } from './battery/kinds/pushes.js';
import { checkSweeps, type SweepEvidence } from './battery/kinds/sweeps.js';
import { checkTrackers, type TrackerEvidence } from './battery/kinds/trackers.js';
import { checkUploads, type UploadEvidence } from './battery/kinds/uploads.js';
import { checkWebhooks, type WebhookEvidence } from './battery/kinds/webhooks.js';

type Finding = readonly [subject: string, what: string];

/** Defines tests that run `check` on a clean record, and on records with one violation. */
function plants<Found>(
  name: string,
  check: (found: Found) => Iterable<Finding>,
  clean: Found,
  planted: readonly (readonly [title: string, broken: Found, what: string | RegExp])[],
): void {
  describe(name, () => {
    it('finds no violation in a clean record', () => expect([...check(clean)]).toEqual([]));
    it.each(planted)('finds that %s', (_, broken, what) => {
      const found = [...check(broken)].map(([, said]) => said);
      expect(found).toContainEqual(expect.stringMatching(what));
    });
  });
}

const DONE = { type: 'fine_tuning.job.succeeded', target: 'job-1' };
const DELIVERED = { ...DONE, endpoint: 'all', id: 'evt-1', isSigned: true, isTaken: true };
const WEBHOOKS: WebhookEvidence = {
  endpoints: { all: [DONE.type, 'eval.run.succeeded'], runs: ['eval.run.succeeded'] },
  // The first delivery was rejected.
  deliveries: [{ ...DELIVERED, isTaken: false }, DELIVERED],
  facts: [DONE],
};
const delivered = (...more: WebhookEvidence['deliveries']): WebhookEvidence => ({
  ...WEBHOOKS,
  deliveries: [...WEBHOOKS.deliveries, ...more],
});
plants('webhooks', checkWebhooks, WEBHOOKS, [
  ['an end was never delivered', { ...WEBHOOKS, deliveries: [] }, 'all did not receive'],
  [
    'an end was sent but never accepted',
    { ...WEBHOOKS, deliveries: [{ ...DELIVERED, isTaken: false }] },
    'all did not receive',
  ],
  [
    'a repeat has another id',
    delivered({ ...DELIVERED, id: 'evt-2' }),
    'has the ids evt-1 and evt-2',
  ],
  [
    'a signature is wrong',
    delivered({ ...DELIVERED, isSigned: false }),
    'without a valid signature',
  ],
  [
    'an event was sent that did not happen',
    delivered({ ...DELIVERED, type: 'fine_tuning.job.failed', id: 'evt-2' }),
    'sent but did not happen',
  ],
  [
    'an endpoint received an event without a subscription',
    delivered({ ...DELIVERED, endpoint: 'runs' }),
    'is not subscribed',
  ],
]);

const LOSSES = [
  { step: 1, loss: 2 },
  { step: 2, loss: 1 },
];
const RUN = { type: 'wandb', job: 'job-1', ending: '0', losses: LOSSES } as const;
const TRACKERS: TrackerEvidence = {
  jobs: [
    { id: 'job-1', state: 'succeeded', hasStarted: true, losses: LOSSES },
    { id: 'job-2', state: 'cancelled', hasStarted: false, losses: [] },
  ],
  runs: [RUN, { ...RUN, type: 'mlflow', ending: 'FINISHED' }],
};
const tracked = (...runs: TrackerEvidence['runs']): TrackerEvidence => ({ ...TRACKERS, runs });
const [WANDB, MLFLOW] = TRACKERS.runs as [(typeof TRACKERS.runs)[0], (typeof TRACKERS.runs)[0]];
plants('trackers', checkTrackers, TRACKERS, [
  ['a job has no run', tracked(MLFLOW), '0 runs at wandb'],
  ['a job has two', tracked(WANDB, MLFLOW, MLFLOW), '2 runs at mlflow'],
  ['a job that never started has one', tracked(WANDB, MLFLOW, { ...WANDB, job: 'job-2' }), 'never'],
  ['a run has no job', tracked(WANDB, MLFLOW, { ...WANDB, job: 'job-3' }), 'a run without a job'],
  [
    'the final status differs',
    tracked({ ...WANDB, ending: '1' }, MLFLOW),
    'wandb has the status 1',
  ],
  [
    'the last loss is missing',
    tracked({ ...WANDB, losses: LOSSES.slice(0, 1) }, MLFLOW),
    'wandb has 1 losses',
  ],
  [
    'a loss is there twice',
    tracked(WANDB, { ...MLFLOW, losses: [...LOSSES, ...LOSSES.slice(1)] }),
    'mlflow has 3 losses',
  ],
]);

const ITEM = {
  number: 0,
  status: 'pass',
  results: [
    { name: 'same', passed: true },
    { name: 'close', passed: true },
  ],
  written: 1,
  writtenLate: 0,
  calls: 0,
  error: null as string | null,
};
const EVAL: RunEvidence = {
  id: 'run-1',
  status: 'completed',
  passing: 1,
  size: 1,
  items: [ITEM],
  shown: { total: 1, passed: 1, failed: 0, errored: 0 },
};
const item = (changes: Partial<typeof ITEM>): RunEvidence[] => [
  { ...EVAL, items: [{ ...ITEM, ...changes }] },
];
plants(
  'evals',
  checkEvals,
  [EVAL],
  [
    ['a run has not ended', [{ ...EVAL, status: 'in_progress' }], 'is in_progress'],
    ['a run failed', [{ ...EVAL, status: 'failed' }], 'is failed'],
    ['an item is lost', [{ ...EVAL, items: [] }], 'has 0 items of 1'],
    ['an item was not graded', item({ status: 'queued' }), 'was not graded'],
    [
      'an item could not be graded',
      item({ status: 'error', error: 'internal_error' }),
      'could not be graded: internal_error',
    ],
    ['an item was graded twice', item({ written: 2 }), 'written 2 times'],
    [
      'an item was graded after its run was cancelled',
      item({ writtenLate: 1 }),
      'when its run was not running',
    ],
    ['a criterion is missing', item({ results: ITEM.results.slice(1) }), 'was graded by close$'],
    ['a result differs', item({ status: 'fail' }), 'is fail, unlike its results'],
    [
      'a call counts twice',
      [{ ...EVAL, passing: null, items: [{ ...ITEM, calls: 2 }] }],
      '2 model calls',
    ],
    ['too few pass', [{ ...EVAL, passing: 0 }], '1 items passed, not 0'],
    ['the counts differ', [{ ...EVAL, shown: { ...EVAL.shown, passed: 0 } }], /^shows/],
  ],
);

const trial = (number: number, loss: number) => ({
  job: `job-${number}`,
  number,
  state: 'succeeded',
  rate: number,
  loss,
  hasModel: true,
});
const SWEEP: SweepEvidence = {
  id: 'sweep-1',
  token: 'token-1',
  size: 2,
  isCancelled: false,
  hasEnded: true,
  trials: [trial(1, 2), trial(2, 1)],
  shown: { status: 'succeeded', winner: { trial: 2, job: 'job-2', score: 1, model: 'ft:2' } },
};
const ACKNOWLEDGED = new Map([['token-1', 'sweep-1']]);
const sweep = (changes: Partial<SweepEvidence>): SweepEvidence[] => [{ ...SWEEP, ...changes }];
plants(
  'sweeps',
  (sweeps: readonly SweepEvidence[]) => checkSweeps(sweeps, ACKNOWLEDGED),
  [SWEEP],
  [
    ['a sweep is lost', [], 'acknowledged, but found none'],
    ['one request created two', [SWEEP, { ...SWEEP, id: 'sweep-2' }], 'one request created two'],
    ['a sweep has not ended', sweep({ hasEnded: false }), 'has not ended'],
    [
      'a trial is lost',
      sweep({ trials: SWEEP.trials.slice(1) }),
      'has the trials 2 instead of 1 to 2',
    ],
    [
      'a trial has two jobs',
      sweep({ trials: [...SWEEP.trials, trial(2, 3)] }),
      '1,2,2 instead of 1 to 2',
    ],
    ['there is no winner', sweep({ shown: { status: 'succeeded', winner: null } }), 'names null'],
    [
      'the winner is not the best',
      sweep({ shown: { ...SWEEP.shown, winner: { trial: 1, job: 'job-1', score: 2, model: 'ft:1' } } }), // prettier-ignore
      'the best loss is 1',
    ],
    ['the status differs', sweep({ isCancelled: true }), 'is succeeded, not cancelled'],
    [
      'a trial has another loss in another sweep',
      [SWEEP, { ...SWEEP, id: 'sweep-2', token: 'token-2', trials: [trial(1, 2.5), trial(2, 1)] }],
      'its loss is 2.5, but 2 in another',
    ],
  ],
);

const FILES = [{ name: 'config.json', sha256: 'aa', size: 1 }];
const IMPORT: ImportEvidence = { id: 'import-1', status: 'ready', reason: null, files: FILES, source: FILES }; // prettier-ignore
const BAD = { ...IMPORT, id: 'import-2', status: 'error', reason: 'why', files: [], source: null };
const imported = (changes: Partial<ImportEvidence>): ImportEvidence[] => [{ ...IMPORT, ...changes }]; // prettier-ignore
plants('imports', (models: readonly ImportEvidence[]) => checkImports(models, ['import-1']), [IMPORT, BAD], [
  ['an import is lost', [BAD], 'acknowledged, but missing'],
  ['an import never ends', imported({ status: 'importing' }), 'is importing'],
  ['a file is missing', imported({ files: [] }), /^has \[\]/],
  ['a file has other bytes', imported({ files: [{ ...FILES[0]!, sha256: 'ab' }] }), '"ab"'],
  ['an invalid base is ready', imported({ source: null }), 'its source is invalid'],
  ['a failure has no reason', [IMPORT, { ...BAD, reason: null }], 'failed without a reason'],
  ['a failure keeps files', [IMPORT, { ...BAD, files: FILES }], 'failed, but has 1 files'],
]); // prettier-ignore

const SENT = { filename: 'a.jsonl', sha256: 'aa', bytes: 10, outcome: 'finished', id: 'file-1', times: 1 } as const; // prettier-ignore
const CUT = { ...SENT, filename: 'b.jsonl', outcome: 'unfinished', id: null, times: 0 } as const;
const FILE = { id: 'file-1', filename: 'a.jsonl', sha256: 'aa', bytes: 10 };
const UPLOADS: UploadEvidence = { sent: [SENT, CUT], files: [FILE] };
plants('uploads', checkUploads, UPLOADS, [
  ['a file is lost', { ...UPLOADS, files: [] }, 'acknowledged as file-1, but is missing'],
  ['a file has other bytes', { ...UPLOADS, files: [{ ...FILE, sha256: 'ab' }] }, 'bytes ab, not'],
  ['a file is truncated', { ...UPLOADS, files: [{ ...FILE, bytes: 9 }] }, 'has 9 bytes'],
  [
    'one upload created two',
    { ...UPLOADS, files: [FILE, { ...FILE, id: 'file-2' }] },
    '2 files after 1',
  ],
  [
    'an unfinished upload is a file',
    { ...UPLOADS, files: [FILE, { ...FILE, filename: 'b.jsonl' }] },
    'was not finished, but is 1 files',
  ],
]);

const OPERATION = { id: 'job-1', token: 'token-1', operation: 'merge', state: 'succeeded', files: { a: 'aa' }, error: null }; // prettier-ignore
const EXPORTS: ExportEvidence = {
  operations: [OPERATION],
  quiet: { merge: { a: 'aa' } },
  jobIds: new Map([['token-1', 'job-1']]),
};
plants('exports', checkExports, EXPORTS, [
  ['an operation is lost', { ...EXPORTS, operations: [] }, 'acknowledged, but missing'],
  [
    'one request created two',
    { ...EXPORTS, operations: [OPERATION, { ...OPERATION, id: 'job-2' }] },
    'one request created two',
  ],
  [
    'an operation failed',
    { ...EXPORTS, operations: [{ ...OPERATION, state: 'failed' }] },
    'merge is failed',
  ],
  [
    'a file has other bytes',
    { ...EXPORTS, operations: [{ ...OPERATION, files: { a: 'ab' } }] },
    'merge made',
  ],
]);

const WEIGHTS = [{ name: 'adapter_model.safetensors', size: 8, sha256: 'aa' as string | null }];
const SENT_ADAPTER = { suffix: 'a', files: WEIGHTS, outcome: 'finished', id: 'ft:tiny:default:a:1', times: 1 } as const; // prettier-ignore
const CUT_ADAPTER = { ...SENT_ADAPTER, suffix: 'b', outcome: 'unfinished', id: null, times: 0 } as const; // prettier-ignore
const UPLOADED = { id: SENT_ADAPTER.id, files: WEIGHTS };
const ADAPTERS: AdapterEvidence = {
  sent: [SENT_ADAPTER, CUT_ADAPTER],
  models: [UPLOADED],
  listed: [UPLOADED.id, 'tiny'],
};
const withModels = (...models: AdapterEvidence['models']): AdapterEvidence => ({
  ...ADAPTERS,
  models,
  listed: models.map(({ id }) => id),
});
plants('adapters', checkAdapters, ADAPTERS, [
  ['an adapter is lost', withModels(), `acknowledged as ${UPLOADED.id}, but is missing`],
  ['a file is missing', withModels({ ...UPLOADED, files: [] }), /^has \[\], but .* was sent/],
  [
    'a file has other bytes',
    withModels({ ...UPLOADED, files: [{ ...WEIGHTS[0]!, sha256: 'ab' }] }),
    '"ab"',
  ],
  ['a file has no bytes', withModels({ ...UPLOADED, files: [{ ...WEIGHTS[0]!, sha256: null }] }), 'null'],
  ['it is not listed', { ...ADAPTERS, listed: ['tiny'] }, 'is listed 0 times'],
  ['it is listed twice', { ...ADAPTERS, listed: [UPLOADED.id, UPLOADED.id] }, 'is listed 2 times'],
  [
    'one upload created two',
    withModels(UPLOADED, { ...UPLOADED, id: 'ft:tiny:default:a:2' }),
    'is 2 models after 1 requests',
  ],
  [
    'an interrupted upload is a model',
    withModels(UPLOADED, { ...UPLOADED, id: 'ft:tiny:default:b:2' }),
    'was not finished, but is 1 models',
  ],
]); // prettier-ignore

const PUSH = {
  repo: 'battery/1',
  model: 'ft:1',
  tries: [
    { ends: ['failed'], isWhole: true, bytes: null },
    { ends: [], isWhole: false, bytes: null },
    { ends: ['succeeded'], isWhole: true, bytes: 8 },
  ],
} as const;
const COMMIT = { repo: PUSH.repo, files: { weights: 'aa' } };
const PUSHES: PushEvidence = {
  pushes: [PUSH],
  models: { 'ft:1': { files: COMMIT.files, bytes: 8 } },
  // One client did not receive the result of a commit. The first push failed before it reached the audit log.
  commits: [COMMIT, COMMIT],
  noted: [PUSH.repo, PUSH.repo],
};
const tried = (changes: Partial<PushEvidence['pushes'][0]['tries'][0]>): PushEvidence => ({
  ...PUSHES,
  pushes: [{ ...PUSH, tries: [...PUSH.tries.slice(0, 2), { ...PUSH.tries[2], ...changes }] }],
});
plants('pushes', checkPushes, PUSHES, [
  ['a push ends twice', tried({ ends: ['succeeded', 'failed'] }), 'one push ended 2 times'],
  ['a push never ends', tried({ ends: [], bytes: null }), 'one push ended 0 times'],
  ['a success is short', tried({ bytes: 7 }), 'succeeded with 7 bytes of 8'],
  ['a success has no commit', { ...PUSHES, commits: [] }, 'succeeded 1 times, but has 0 commits'],
  [
    'one push made two commits',
    { ...PUSHES, commits: [COMMIT, COMMIT, COMMIT, COMMIT] },
    'has 4 commits after 3 pushes',
  ],
  ['a file is missing', { ...PUSHES, commits: [{ ...COMMIT, files: {} }] }, /^has \[\], but ft:1/],
  [
    'a file has other bytes',
    { ...PUSHES, commits: [COMMIT, { ...COMMIT, files: { weights: 'ab' } }] },
    '"ab"',
  ],
  [
    'a commit has no push',
    { ...PUSHES, commits: [...PUSHES.commits, { ...COMMIT, repo: 'battery/2' }] },
    'has a commit without a push',
  ],
  ['a commit has no audit entry', { ...PUSHES, noted: [PUSH.repo] }, 'and 1 audit entries'],
  [
    'a push has two audit entries',
    { ...PUSHES, noted: [...PUSHES.noted, PUSH.repo, PUSH.repo] },
    'and 4 audit entries',
  ],
]);
