import type { DeletedJobObject, JobObject } from '@graft/contracts';
import { placeText } from '@graft/contracts/queue-place';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { AMONG, findJob, findJobId, jobPath, ownName } from '../find/find-job.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { printable, type Output } from '../output/terminal.js';

export function addJob(program: Command): void {
  const job = program
    .command('job')
    .description(
      'keep jobs in order: rename, tag, note, prioritise, archive, delete and restore them',
    );
  addWords(job);
  eachJob(job, 'archive', 'leave jobs out of lists; graft jobs --archived shows them', (api, id) =>
    change(api, id, { archived: true }, 'archived'),
  );
  eachJob(job, 'unarchive', 'put archived jobs back into lists', (api, id) =>
    change(api, id, { archived: false }, 'in lists again'),
  );
  eachJob(
    job,
    'delete',
    'delete jobs that are over, with checkpoints, model and result files; restore takes it back for some days',
    async (api, id) => {
      const value = await api.delete<DeletedJobObject>(jobPath(id));
      const until = new Date(value.graft.restorable_until * 1000).toLocaleString();
      return { value, text: `${id} deleted; until ${until} graft job restore ${id} takes it back` };
    },
  );
  job
    .command('restore')
    .description('take the deletion of jobs back (graft jobs --deleted lists them)')
    .argument('<job...>')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) {
        const id = await findJobId(api(), name, AMONG.deleted);
        const value = await api().post<JobObject>(`${jobPath(id)}/restore`);
        say(out, { value, text: `${id} is there, with what it made` });
      }
    });
}

/** What a command did, as JSON and for people. */
interface Said {
  readonly value: unknown;
  readonly text: string;
}

const say = (out: Output, { value, text }: Said): void =>
  out.json ? out.value(value) : out.line(printable(text));

async function change(api: Api, id: string, graft: object, said: string): Promise<Said> {
  const value = await api.post<JobObject>(jobPath(id), { graft });
  return { value, text: `${id} ${said}` };
}

function eachJob(
  job: Command,
  verb: string,
  description: string,
  work: (api: Api, id: string) => Promise<Said>,
): void {
  job
    .command(verb)
    .description(description)
    .argument('<job...>')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) say(out, await work(api(), await findJobId(api(), name)));
    });
}

function addWords(job: Command): void {
  job
    .command('tag')
    .description('add tags to a job, or take them away')
    .argument('<job>')
    .argument('<tag...>')
    .option('-r, --remove', 'take these tags away')
    .action(
      async (name: string, given: string[], options: { remove?: boolean }, command: Command) => {
        const { out, api } = callOf(command);
        const { id, graft } = await findJob(api(), name);
        const tags = options.remove
          ? graft.tags.filter((tag) => !given.includes(tag))
          : [...graft.tags, ...given];
        const value = await api().post<JobObject>(jobPath(id), { graft: { tags } });
        say(out, { value, text: `${id} ${value.graft.tags.join(', ') || 'has no tags'}` });
      },
    );
  job
    .command('priority')
    .description('move a job within its queue: jobs with a lower number run first')
    .argument('<job>')
    .argument('<number>', '1 to 1000; 100 unless the job was given one', positiveInteger)
    .action(async (name: string, priority: number, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const value = await api().post<JobObject>(jobPath(id), { graft: { priority } });
      const place = placeText(value.graft);
      say(out, { value, text: `${id} has priority ${priority}${place && `: ${place}`}` });
    });
  job
    .command('note')
    .description('note something of a job; without a text the note goes')
    .argument('<job>')
    .argument('[text]')
    .action(async (name: string, text: string | undefined, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      say(out, await change(api(), id, { note: text ?? null }, text ? 'noted' : 'has no note'));
    });
  job
    .command('rename')
    .description(
      'give a job another name, which its model keeps nothing of; without one it goes by its suffix again',
    ) // prettier-ignore
    .argument('<job>')
    .argument('[name]')
    .action(async (name: string, to: string | undefined, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const value = await api().post<JobObject>(jobPath(id), { graft: { name: to ?? null } });
      say(out, { value, text: `${id} ${ownName(value) ?? 'has no name'}` });
    });
}
