// Metrics and labels of a PromQL expression, parsed with Prometheus's own grammar.
import type { SyntaxNode } from '@lezer/common';
import { parser } from '@prometheus-io/lezer-promql';

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly {
    readonly label: string;
    readonly operator: string;
    readonly value: string;
  }[];
}

export interface Promql {
  readonly selectors: readonly Selector[];
  /** Labels used for grouping and joining. */
  readonly grouped: readonly string[];
}

/** Parses an expression. @throws Error if it is invalid */
export function readPromql(expression: string): Promql {
  const selectors: Selector[] = [];
  const grouped: string[] = [];
  const text = (of: SyntaxNode, name: string): string => {
    const child = of.getChild(name);
    return child ? expression.slice(child.from, child.to) : '';
  };
  parser.parse(expression).iterate({
    enter({ type, from, to, node }) {
      if (type.isError) throw new Error(`${expression}: no PromQL at ${from}`);
      if (type.name === 'VectorSelector') {
        const matchers = node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? [];
        selectors.push({
          metric: text(node, 'Identifier'),
          matchers: matchers.map((matcher) => ({
            label: text(matcher, 'LabelName'),
            operator: text(matcher, 'MatchOp'),
            value: text(matcher, 'StringLiteral').slice(1, -1),
          })),
        });
      }
      if (type.name === 'LabelName' && node.parent?.name === 'GroupingLabels')
        grouped.push(expression.slice(from, to));
    },
  });
  return { selectors, grouped };
}

/**
 * Evaluates an expression with one series per metric. Null: no result, as for a comparison that is false.
 * @throws Error for anything except arithmetic, comparisons and the functions below
 */
export function valueOf(
  expression: string,
  figures: Readonly<Record<string, number>>,
): number | null {
  const of = (node: SyntaxNode): number | null => {
    const text = expression.slice(node.from, node.to);
    const parts = children(node);
    switch (node.name) {
      case 'PromQL':
      case 'ParenExpr':
        return of(parts[0]!);
      case 'NumberDurationLiteral':
        return Number(text);
      case 'VectorSelector':
        return figures[text] ?? null;
      // an aggregation of one series is the series itself
      case 'AggregateExpr':
        return of(children(node.getChild('FunctionCallBody')!)[0]!);
      case 'FunctionCall': {
        const [a, b] = children(node.getChild('FunctionCallBody')!).map(of);
        if (node.getChild('FunctionIdentifier')?.firstChild?.name === 'ClampMax')
          return known(a, b, (value, most) => Math.min(value, most));
        break;
      }
      case 'BinaryExpr': {
        const [left, operator, right] = parts;
        const apply = OPERATORS[operator!.name];
        if (apply) return known(of(left!), of(right!), apply);
      }
    }
    throw new Error(`${text}: ${node.name} is not worked out here`);
  };
  return of(parser.parse(expression).topNode);
}

type Apply = (a: number, b: number) => number | null;

const OPERATORS: Readonly<Record<string, Apply>> = {
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Lss: (a, b) => (a < b ? a : null),
};

const known = (
  a: number | null | undefined,
  b: number | null | undefined,
  apply: Apply,
): number | null => (typeof a === 'number' && typeof b === 'number' ? apply(a, b) : null);

function children(node: SyntaxNode): SyntaxNode[] {
  const all: SyntaxNode[] = [];
  for (let one = node.firstChild; one; one = one.nextSibling) all.push(one);
  return all;
}
