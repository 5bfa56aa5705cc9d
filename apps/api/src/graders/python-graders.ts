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
  StartFailure,
  runPython,
  type Confinement,
} from './python-process.js';
import type { Grading } from './template.js';

/** Concurrent runs over all projects. Each uses a processor. */
const AT_ONCE = 2;
const MOST_WAITING = 1000;
const MOST_DETAILS = 2000;

/** Text that the harness writes before it reads its input. */
const BEGUN = 'begun';

/** Python code that runs the grader and writes one line of JSON after that text, whatever the grader prints. */
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
NO_GRADE = 'source does not define a function grade(sample, item)'
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
            raise ValueError(f'grade returned {score}, which is not a finite number')
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

/** Python code that tries what the confinement must prevent and reports the process's user. */
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
 * Runs OpenAI's Python graders, whose source defines `grade(sample, item)`, with an interpreter that the operator
 * configures (Graft includes none). The confinement is tested before the first run; if any part is not available, no
 * grader runs.
 */
@Injectable()
export class PythonGraders {
  private readonly slots = new Slots({
    atOnce: AT_ONCE,
    each: AT_ONCE,
    waiting: MOST_WAITING,
    waitingEach: MOST_WAITING / 2,
    what: 'Python graders are running',
  });
  private confined: Promise<Confinement> | null = null;

  constructor(private readonly settings: Settings) {}

  /**
   * Checks a source without executing it.
   * @throws DomainError if Python graders are not available here or the source is not a grader
   */
  async check(project: string, source: string, param: string): Promise<void> {
    const { signal } = new AbortController();
    const answer = await this.run(project, { source, only_check: true }, param, signal);
    if (typeof answer === 'string')
      throw new DomainError('unavailable', `${param}: ${answer}`, param);
    const wrong = answer.syntax === undefined ? answer.error : `no Python: ${answer.syntax}`;
    if (wrong !== undefined) throw new DomainError('invalid_value', `${param}: ${wrong}`, param);
  }

  /**
   * Runs a grader. Errors of the source are part of the grade.
   * @throws DomainError if Python graders are not available here
   */
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
        python_grader_runtime_error_details: (wrong ?? 'it returned no score').slice(
          0,
          MOST_DETAILS,
        ),
      },
    });
  }

  /**
   * Runs the harness. Returns the reason as text if there is no answer.
   * @throws Outage if the source was not started, which is not its fault
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
      const why = `${ended ?? 'it returned no score'}${last ? ` (${last})` : ''}`;
      if (begun === BEGUN || stop.aborted) return why;
      log.warn({ reason: why }, 'the interpreter of Python graders did not start');
      throw notStarted(param);
    } finally {
      free();
    }
  }

  /**
   * Tests the confinement once.
   * @throws Outage if the probe did not finish, DomainError if confinement is not available here
   */
  private async confinement(param: string): Promise<Confinement> {
    try {
      return await (this.confined ??= this.testedConfinement());
    } catch (error) {
      // Not cached, so that a problem fixed outside, such as a missing user, is noticed at the next attempt.
      this.confined = null;
      const { message } = error as Error;
      if (error instanceof StartFailure) {
        log.warn({ reason: message }, 'the confinement of Python graders could not be tested');
        throw notStarted(param);
      }
      throw new DomainError(
        'unsupported',
        `${param}: Python graders are not available: ${message}`,
        param,
      );
    }
  }

  private async testedConfinement(): Promise<Confinement> {
    const { python, pythonUser, home, blobsDir } = this.settings;
    if (python === null)
      throw new Error('no interpreter is configured; the operator can set GRAFT_PYTHON');
    const confinement = await confinementOf(python, pythonUser, [home, blobsDir]);
    const { stdout, stderr, ended } = await runPython(
      confinement,
      PROBE,
      JSON.stringify(confinement.hidden),
      new AbortController().signal,
    );
    const found = parsed(stdout) as Probe | null;
    if (found === null) {
      const reason =
        stderr.trim().split('\n').at(-1) || (ended ?? 'the interpreter printed nothing');
      if (isTransient(`${stderr}\n${ended ?? ''}`)) throw new StartFailure(reason);
      throw new Error(`the interpreter cannot be confined: ${reason}`);
    }
    const limits = { CPU: LIMITS.cpuSeconds, AS: LIMITS.memoryBytes, FSIZE: 0, CORE: 0 };
    const loose = Object.entries(limits).find(([name, most]) => found.limits[name] !== most);
    if (loose) throw new Error(`the limit ${loose[0]} cannot be set`);
    if (found.uid !== confinement.uid) throw new Error(`the interpreter runs as user ${found.uid}`);
    if (found.network !== 'none') throw new Error(`it has a network (${found.network})`);
    const seen = confinement.uid === process.getuid?.() ? found.pid : found.processes;
    if (seen > 3) throw new Error('it sees other processes');
    if (found.opened[0]) throw new Error(`it can read ${found.opened[0]}`);
    return confinement;
  }
}

const notStarted = (param: string): Outage =>
  new Outage(
    'graders',
    `${param}: the interpreter of Python graders could not be started; try again later`,
    param,
  );

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
