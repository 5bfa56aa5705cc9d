import type { DeletedJobObject, JobInterruptObject, JobObject } from '@graft/contracts';
import { placeText } from '@graft/contracts/queue-place';
import type { Command } from 'commander';
import { ApiError, type Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { AMONG, findJob, findJobId, jobPath, ownName } from '../find/find-job.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { answered, canAsk, prompts } from '../output/prompts.js';
import { printable, type Output } from '../output/terminal.js';
import { GRAFT } from '../called.js';

export function addJob(program: Command): void {
  const job = program
    .command('job')
    .description('Rename, tag, prioritize, archive, interrupt or delete jobs');
  addLabelCommands(job);
  addInterrupt(job);
  eachJob(job, 'archive', 'Hide jobs from lists (graft jobs --archived shows them)', (api, id) =>
    change(api, id, { archived: true }, 'archived'),
  );
  eachJob(job, 'unarchive', 'Show archived jobs in lists again', (api, id) =>
    change(api, id, { archived: false }, 'unarchived'),
  );
  eachJob(
    job,
    'delete',
    'Delete finished jobs with their models and files (see restore)',
    async (api, id) => {
      const value = await api.delete<DeletedJobObject>(jobPath(id));
      const until = new Date(value.graft.restorable_until * 1000)
        .toISOString()
        .replace('.000Z', 'Z');
      return { value, text: `${id} deleted; to undo before ${until}: ${GRAFT} job restore ${id}` };
    },
  );
  job
    .command('restore')
    .description('Restore deleted jobs (graft jobs --deleted lists them)')
    .argument('<job...>')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) {
        const id = await findJobId(api(), name, AMONG.deleted);
        const value = await api().post<JobObject>(`${jobPath(id)}/restore`);
        print(out, { value, text: `${id} restored with its models and files` });
      }
    });
}

/** Result of a command, as JSON and as text. */
interface Printed {
  readonly value: unknown;
  readonly text: string;
}

const print = (out: Output, { value, text }: Printed): void =>
  out.json ? out.value(value) : out.line(printable(text));

async function change(api: Api, id: string, graft: object, done: string): Promise<Printed> {
  const value = await api.post<JobObject>(jobPath(id), { graft });
  return { value, text: `${id} ${done}` };
}

function eachJob(
  job: Command,
  verb: string,
  description: string,
  work: (api: Api, id: string) => Promise<Printed>,
): void {
  job
    .command(verb)
    .description(description)
    .argument('<job...>')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) print(out, await work(api(), await findJobId(api(), name)));
    });
}

function addLabelCommands(job: Command): void {
  job
    .command('tag')
    .description('Add or remove tags of a job')
    .argument('<job>')
    .argument('<tag...>')
    .option('-r, --remove', 'remove these tags')
    .action(
      async (
        name: string,
        typedTags: string[],
        options: { remove?: boolean },
        command: Command,
      ) => {
        const { out, api } = callOf(command);
        const { id, graft } = await findJob(api(), name);
        const tags = options.remove
          ? graft.tags.filter((tag) => !typedTags.includes(tag))
          : [...graft.tags, ...typedTags];
        const value = await api().post<JobObject>(jobPath(id), { graft: { tags } });
        print(out, { value, text: `${id} ${value.graft.tags.join(', ') || 'has no tags'}` });
      },
    );
  job
    .command('priority')
    .description('Set the priority of a job (lower numbers start first)')
    .argument('<job>')
    .argument('<number>', '1 to 1000 (default of jobs: 100)', positiveInteger)
    .action(async (name: string, priority: number, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const value = await api().post<JobObject>(jobPath(id), { graft: { priority } });
      const place = placeText(value.graft);
      print(out, { value, text: `${id} has priority ${priority}${place && `: ${place}`}` });
    });
  job
    .command('note')
    .description("Set a job's note (omit the text to clear it)")
    .argument('<job>')
    .argument('[text]')
    .action(async (name: string, text: string | undefined, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      print(
        out,
        await change(api(), id, { note: text ?? null }, text ? 'note set' : 'note cleared'),
      );
    });
  job
    .command('rename')
    .description('Rename a job, not its model (omit the name to reset it)')
    .argument('<job>')
    .argument('[name]')
    .action(async (name: string, to: string | undefined, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const value = await api().post<JobObject>(jobPath(id), { graft: { name: to ?? null } });
      print(out, { value, text: `${id} ${ownName(value)}` });
    });
}

interface InterruptOptions {
  readonly force?: boolean;
  readonly yes?: boolean;
}

function addInterrupt(job: Command): void {
  job
    .command('interrupt')
    .description("Kill a job's trainer process, to see the job resume")
    .argument('<job>')
    .option('--force', 'also if other jobs train in the same process; they resume, too')
    .option('-y, --yes', 'skip the confirmation')
    .action(async (name: string, { force, yes }: InterruptOptions, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      if (!yes) await confirmInterrupt(name);
      const value = await api()
        .post<JobInterruptObject>(`${jobPath(id)}/interrupt`, { force: force === true })
        .catch((error: unknown) => {
          throw withFlag(error);
        });
      print(out, { value, text: interruptText(value) });
      out.note(
        `Follow it: ${GRAFT} watch ${name}\nThen compare it with a twin: ${GRAFT} receipt compare ${name} TWIN`,
      );
    });
}

/** @throws CliError if the user does not agree, or cannot be asked */
async function confirmInterrupt(name: string): Promise<void> {
  if (!canAsk())
    throw new CliError(
      'interrupt kills a trainer process; pass --yes to confirm it without a terminal',
      EXIT.usage,
    );
  const { confirm } = await prompts();
  const message = `Kill the trainer process of ${printable(name)}? The job resumes from its newest checkpoint.`;
  if (!(await answered(confirm({ message, initialValue: false }))))
    throw new CliError('nothing was interrupted');
}

/** Names the flag in an error about the field that it sets. */
function withFlag(error: unknown): unknown {
  if (!(error instanceof ApiError) || error.param !== 'force') return error;
  return new CliError(error.message.replace('set force', 'pass --force'));
}

function interruptText({ worker, process, jobs, others }: JobInterruptObject): string {
  const lines = jobs.map(
    ({ id, step, resumes_from: from }) =>
      `${id} interrupted at step ${step}: ${from === 0 ? 'no checkpoint yet, starts over' : `resumes from step ${from}`}`,
  );
  const foreign = others === 0 ? [] : [`${others} of other projects interrupted`];
  return [...lines, ...foreign, `process ${process} on ${worker} is being killed`].join('\n');
}
