import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import { Settings } from '../config.js';
import { Outage } from '../faults.js';
import { Slots } from '../limits/slots.js';
import { log } from '../log.js';
import { graded, type Grade } from './grade.js';
import {
  confinementOf,
  isTransient,
  LIMITS,
  NotTried,
  runPython,
  type Confinement,
} from './python-process.js';
import type { Grading } from './template.js';

/** At once, of all projects: each is a processor's work. */
const AT_ONCE = 2;
const MOST_WAITING = 1000;
const MOST_DETAILS = 2000;

/** What the harness writes before it reads anything. */
const BEGUN = 'begun';

/** Hands back one line of JSON behind that word, whatever the grader prints. */
const HARNESS = `
import ast, json, math, os, symtable, sys, traceback
def defines_grade(source):
    table = symtable.symtable(source, 'source', 'exec')
    if 'grade' in table.get_identifiers():
        grade = table.lookup('grade')
        if grade.is_assigned() or grade.is_imported():
            return True
    imports = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom))
    return any(alias.name == '*' for node in imports for alias in node.names)
out = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)
out.write('${BEGUN}\\n')
out.flush()
given = json.load(sys.stdin)
NO_GRADE = 'source defines no function grade(sample, item)'
try:
    code = compile(given['source'], 'source', 'exec')
    if given['only_check']:
        answer = {'score': 0} if defines_grade(given['source']) else {'error': NO_GRADE}
    else:
        names = {'__name__': 'grader'}
        exec(code, names)
        if not callable(names.get('grade')):
            raise TypeError(NO_GRADE)
        score = float(names['grade'](given['sample'], given['item']))
        if not math.isfinite(score):
            raise ValueError(f'grade returned {score}, which is no finite number')
        answer = {'score': score}
except SyntaxError as error:
    answer = {'syntax': f'line {error.lineno}: {error.msg}'}
except BaseException as error:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == 'source']
    said = ''.join(traceback.format_exception_only(type(error), error)).strip()
    answer = {'error': (f'line {lines[-1]}: ' if lines else '') + said}
out.write(json.dumps(answer))
out.flush()
os._exit(0)
`;

/** Tries what must not be possible, and says who it is. */
const PROBE = `
import json, os, resource, socket, sys
def is_open(folder):
    try:
        return len(os.listdir(folder)) > 0
    except OSError:
        return False
def network():
    with open('/proc/net/dev') as file:
        names = [line.split(':')[0].strip() for line in file if ':' in line]
    try:
        socket.create_connection(('127.0.0.1', 9), timeout=1).close()
        return 'connected'
    except ConnectionRefusedError:
        return 'refused'
    except OSError:
        return 'none' if names in ([], ['lo']) else ','.join(names)
limits = {name: resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[1] for name in ('CPU', 'AS', 'FSIZE', 'CORE')}
processes = sum(name.isdigit() for name in os.listdir('/proc'))
opened = [folder for folder in json.load(sys.stdin) if is_open(folder)]
print(json.dumps({'uid': os.getuid(), 'pid': os.getpid(), 'processes': processes, 'opened': opened, 'network': network(), 'limits': limits}))
`;

interface Probe {
  readonly uid: number;
  readonly pid: number;
  readonly processes: number;
  readonly opened: readonly string[];
  readonly network: string;
  readonly limits: Readonly<Record<string, number>>;
}

type Answer = { readonly score?: number; readonly error?: string; readonly syntax?: string };

/**
 * OpenAI's python graders: `grade(sample, item)` of a source, by an interpreter that the operator names (Graft has
 * none). What confines it is tried before the first one runs; where something of it cannot be had, none runs.
 */
@Injectable()
export class PythonGraders {
  private readonly slots = new Slots({
    atOnce: AT_ONCE,
    each: AT_ONCE,
    waiting: MOST_WAITING,
    waitingEach: MOST_WAITING / 2,
    what: 'graders in Python are run',
  });
  private confined: Promise<Confinement> | null = null;

  constructor(private readonly settings: Settings) {}

  /** Runs nothing of the source. @throws DomainError where none runs here, and for what is no grader in Python */
  async check(project: string, source: string, param: string): Promise<void> {
    const { signal } = new AbortController();
    const answer = await this.run(project, { source, only_check: true }, param, signal);
    if (typeof answer === 'string')
      throw new DomainError('unavailable', `${param}: ${answer}`, param);
    const wrong = answer.syntax === undefined ? answer.error : `no Python: ${answer.syntax}`;
    if (wrong !== undefined) throw new DomainError('invalid_value', `${param}: ${wrong}`, param);
  }

  /** What the source does wrong is in the grade. @throws DomainError where none runs here */
  async grade(
    project: string,
    source: string,
    { sample, item }: Grading,
    param: string,
    stop: AbortSignal,
  ): Promise<Grade> {
    const given = {
      source,
      only_check: false,
      sample: {
        output_text: sample?.output_text ?? null,
        output_json: sample === null ? null : parsed(sample.output_text),
        choices: sample?.choices ?? [],
        output_tools: sample?.output_tools ?? [],
      },
      item,
    };
    const answer = await this.run(project, given, param, stop);
    const wrong = typeof answer === 'string' ? answer : (answer.error ?? answer.syntax);
    if (typeof answer !== 'string' && answer.score !== undefined) return graded(answer.score);
    return graded(0, {
      errors: {
        python_grader_runtime_error: true,
        python_grader_runtime_error_details: (wrong ?? 'it gave no score').slice(0, MOST_DETAILS),
      },
    });
  }

  /**
   * Why there is no answer, as a text.
   * @throws Outage where the source was not begun with: that says nothing of it
   */
  private async run(
    project: string,
    input: object,
    param: string,
    stop: AbortSignal,
  ): Promise<Answer | string> {
    const confinement = await this.confinement(param);
    const free = await this.slots.take(project, stop);
    try {
      const { stdout, ended, stderr } = await runPython(
        confinement,
        HARNESS,
        JSON.stringify(input),
        stop,
      );
      const [begun, line = ''] = stdout.split('\n');
      const answer = parsed(line) as Answer | null;
      if (answer !== null && ended === null) return answer;
      const last = stderr.trim().split('\n').at(-1);
      const why = `${ended ?? 'it gave no score'}${last ? ` (${last})` : ''}`;
      if (begun === BEGUN || stop.aborted) return why;
      log.warn({ reason: why }, 'an interpreter of graders did not begin');
      throw notStarted(param);
    } finally {
      free();
    }
  }

  /** @throws Outage where the probe did not come to its end, DomainError where there is no confinement here */
  private async confinement(param: string): Promise<Confinement> {
    try {
      return await (this.confined ??= this.tried());
    } catch (error) {
      // What is mended outside, such as a user that was missing, is found at the next try.
      this.confined = null;
      const { message } = error as Error;
      if (error instanceof NotTried) {
        log.warn({ reason: message }, 'the confinement of graders could not be tried');
        throw notStarted(param);
      }
      throw new DomainError(
        'unsupported',
        `${param}: code in Python is not run here: ${message}`,
        param,
      );
    }
  }

  private async tried(): Promise<Confinement> {
    const { python, pythonUser, home, blobsDir } = this.settings;
    if (python === null)
      throw new Error(
        'Graft has no interpreter of its own; the operator may name one (GRAFT_PYTHON)',
      );
    const confinement = await confinementOf(python, pythonUser, [home, blobsDir]);
    const { stdout, stderr, ended } = await runPython(
      confinement,
      PROBE,
      JSON.stringify(confinement.hidden),
      new AbortController().signal,
    );
    const found = parsed(stdout) as Probe | null;
    if (found === null) {
      const said = stderr.trim().split('\n').at(-1) || (ended ?? 'the interpreter says nothing');
      if (isTransient(`${stderr}\n${ended ?? ''}`)) throw new NotTried(said);
      throw new Error(`it cannot be confined: ${said}`);
    }
    const limits = { CPU: LIMITS.cpuSeconds, AS: LIMITS.memoryBytes, FSIZE: 0, CORE: 0 };
    const loose = Object.entries(limits).find(([name, most]) => found.limits[name] !== most);
    if (loose) throw new Error(`its limit ${loose[0]} cannot be set`);
    if (found.uid !== confinement.uid) throw new Error(`it runs as user ${found.uid}`);
    if (found.network !== 'none') throw new Error(`it has a network (${found.network})`);
    const seen = confinement.uid === process.getuid?.() ? found.pid : found.processes;
    if (seen > 3) throw new Error('it sees processes of others');
    if (found.opened[0]) throw new Error(`it sees what is in ${found.opened[0]}`);
    return confinement;
  }
}

const notStarted = (param: string): Outage =>
  new Outage(
    'graders',
    `${param}: the interpreter of graders could not be started; try again later`,
    param,
  );

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
