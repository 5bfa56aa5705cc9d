import { DomainError } from '@graft/contracts';

// Parser for `calculate_output` of a multi grader: + - * / ^, parentheses, numbers, names of graders and OpenAI's
// eight functions. Maintained libraries also support assignment, members and calls, which would have to be disabled.

const FUNCTIONS: Readonly<Record<string, (...values: number[]) => number>> = {
  min: Math.min,
  max: Math.max,
  abs: Math.abs,
  floor: Math.floor,
  ceil: Math.ceil,
  exp: Math.exp,
  sqrt: Math.sqrt,
  log: Math.log,
};
/** Functions with several arguments. All others have one. */
const SEVERAL = ['min', 'max'];

const TOKEN = /\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|[A-Za-z_]\w*|\S/gi;

type Values = Readonly<Record<string, number>>;
type Term = (values: Values) => number;

export interface Formula {
  readonly names: ReadonlySet<string>;
  /** Evaluates the formula. The result may not be finite, for example after a division by 0. */
  value(values: Values): number;
}

/**
 * Parses a formula.
 * @throws DomainError with the position of the error
 */
export function parseFormula(text: string, param: string): Formula {
  const names = new Set<string>();
  const tokens = [...text.matchAll(TOKEN)];
  let at = 0;

  const peek = (): string => tokens[at]?.[0] ?? '';
  const fail = (expected: string): DomainError => unexpectedToken(expected, tokens[at], param);
  const take = (wanted: string): void => {
    if (peek() !== wanted) throw fail(`"${wanted}"`);
    at++;
  };

  const call = (name: string): Term => {
    const of = FUNCTIONS[name];
    if (!Object.hasOwn(FUNCTIONS, name) || !of) {
      at--;
      throw fail(`one of the functions ${Object.keys(FUNCTIONS).join(', ')}`);
    }
    take('(');
    const given = [sum()];
    while (peek() === ',' && SEVERAL.includes(name)) {
      at++;
      given.push(sum());
    }
    take(')');
    return (values) => of(...given.map((one) => one(values)));
  };

  const atom = (): Term => {
    const token = peek();
    if (/^[\d.]/.test(token) && Number.isFinite(Number(token))) {
      at++;
      return () => Number(token);
    }
    if (/^[A-Za-z_]/.test(token)) {
      at++;
      if (peek() === '(') return call(token);
      names.add(token);
      return (values) => values[token]!;
    }
    if (token !== '(') throw fail('a number, the name of a grader, a function or "("');
    at++;
    const inner = sum();
    take(')');
    return inner;
  };

  /** Power is right-associative and binds stronger than the sign: -2^2 is -4, 2^-1 is 0.5. */
  const power = (): Term => {
    const base = atom();
    if (peek() !== '^') return base;
    at++;
    const exponent = signed();
    return (values) => base(values) ** exponent(values);
  };

  const signed = (): Term => {
    if (peek() !== '-') return power();
    at++;
    const inner = signed();
    return (values) => -inner(values);
  };

  const product = (): Term => {
    let left = signed();
    while (peek() === '*' || peek() === '/') {
      const [before, times] = [left, tokens[at++]![0] === '*'];
      const right = signed();
      left = (values) => (times ? before(values) * right(values) : before(values) / right(values));
    }
    return left;
  };

  function sum(): Term {
    let left = product();
    while (peek() === '+' || peek() === '-') {
      const [before, plus] = [left, tokens[at++]![0] === '+'];
      const right = product();
      left = (values) => (plus ? before(values) + right(values) : before(values) - right(values));
    }
    return left;
  }

  const value = sum();
  if (at < tokens.length) throw fail('an operator (+ - * / ^)');
  return { names, value };
}

function unexpectedToken(
  expected: string,
  found: RegExpExecArray | undefined,
  param: string,
): DomainError {
  const what = found ? `got "${found[0]}" at character ${found.index + 1}` : 'got the end';
  return new DomainError('invalid_value', `${param}: expected ${expected}, ${what}`, param);
}
