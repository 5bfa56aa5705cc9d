import { describe, expect, it } from 'vitest';
import { MAX_LINE_BYTES, type FileReport } from '@graft/contracts';
import { LineCheck } from './line-check.js';

const good = '{"messages":[{"role":"user","content":"ü?"},{"role":"assistant","content":"yes"}]}';

function check(content: string | Buffer, chunk = 1 << 16): FileReport {
  const bytes = Buffer.from(content);
  const lines = new LineCheck();
  for (let at = 0; at < bytes.length; at += chunk) lines.push(bytes.subarray(at, at + chunk));
  return lines.end().report;
}

describe('LineCheck', () => {
  it('counts records whatever the chunking, line endings and last newline', () => {
    for (const chunk of [1, 2, 7, 1000]) {
      expect(check(`${good}\n${good}\r\n\n${good}`, chunk)).toMatchObject({
        records: 3,
        problems: [],
      });
    }
  });

  it('numbers bad lines as an editor does', () => {
    expect(check(`${good}\n\n{"a"\n${good}\n`).problems).toEqual([
      expect.stringMatching(/^line 3: /),
    ]);
  });

  it('rejects invalid UTF-8 and an empty file', () => {
    expect(
      check(Buffer.concat([Buffer.from(`${good}\n`), Buffer.from([0xff, 0xfe, 10])])).problems,
    ).toEqual(['line 2: not valid UTF-8']);
    expect(check('').problems).toEqual(['the file contains no records']);
    expect(check('\n\n').problems).toEqual(['the file contains no records']);
  });

  it('does not apply the larger limit of images to texts', () => {
    const url = `data:image/png;base64,${'AAAA'.repeat(MAX_LINE_BYTES / 4)}`;
    const fitting = ({ tasks = [] }: FileReport): string[] =>
      tasks.filter(({ fits }) => fits).map(({ task }) => task);
    expect(fitting(check(`${JSON.stringify({ image: url, label: 'cat' })}\n`))).toEqual([
      'image_cls',
    ]);
    const text = check(`${good}\n${JSON.stringify({ text: url })}\n`);
    expect(text.problems).toEqual([`line 2: the line is longer than ${MAX_LINE_BYTES} bytes`]);
    expect(fitting(text)).toEqual([]);
  });

  it('skips an overlong line and continues after it', () => {
    const report = check(`${good}\n"${'x'.repeat(MAX_LINE_BYTES)}"\n${good}\n`);
    expect(report).toMatchObject({
      records: 2,
      problems: [`line 2: the line is longer than ${MAX_LINE_BYTES} bytes`],
    });
  });

  it('counts the records of each label', () => {
    const lines = ['"a"', '"b"', '["a","__proto__"]', '3'].map(
      (label) => `{"text":"x","label":${label}}`,
    );
    const { labels } = check(lines.join('\n'));
    expect(Object.entries(labels ?? {})).toEqual([
      ['3', 1],
      ['a', 2],
      ['b', 1],
      ['__proto__', 1],
    ]);
    expect(check(good).labels).toBeUndefined();
    const measures = Array.from({ length: 1001 }, (_, n) => `{"text":"x","label":${n}}`);
    expect(check(measures.join('\n')).labels).toBeUndefined();
  });

  it('warns of labels that a classifier cannot learn', () => {
    const labelled = (...labels: unknown[]): FileReport =>
      check(labels.map((label, n) => JSON.stringify({ text: `${n}`, label })).join('\n'));
    expect(labelled('card', 'card').warnings).toContain(
      'Every record of the file has the label "card": there is nothing to distinguish.',
    );
    expect(labelled('a', 'b', 'c').warnings).toContainEqual(
      expect.stringMatching(/^Each of the 3 records of the file has a label of its own: /),
    );
    const lists = labelled(['a'], ['a', 'b'], []);
    for (const report of [labelled('a', 'b', 'a'), lists])
      expect(report.warnings).toEqual([expect.stringMatching(/^Only 3 examples/)]);
    expect(labelled('a', '', 'b').problems).toEqual([
      'line 2: "label" is empty: label the record, or remove it from the file',
    ]);
  });

  it('groups lines by problem and lists at most twenty problems', () => {
    const empty = '{"prompt":"a","completion":""}\n';
    expect(check(`${empty.repeat(12)}${good}\n${good}\n${empty}x\n${empty}`).problems).toEqual([
      'lines 1–12, 15, 17: "completion" is empty: there is nothing to learn',
      "line 16: not valid JSON: Unexpected token 'x'",
    ]);
    const many = Array.from({ length: 33 }, (_, n) => `{"text":"a","k${n}":1}\n`).join('');
    const { problems } = check(`${many}${empty}`);
    expect(problems).toHaveLength(21);
    expect(problems[19]).toMatch(/^line 20: unknown key "k19"/);
    expect(problems[20]).toBe('and 14 more bad lines');
  });

  it('lists twenty ranges of lines for a problem and counts the rest', () => {
    const [problem] = check(`x\n${good}\n`.repeat(100)).problems;
    expect(problem).toMatch(/^lines 1, 3, 5, .*, 37, 39 and 80 more: not valid JSON/);
  });

  it('warns about fewer than ten examples without rejecting them', () => {
    const end = (count: number) => {
      const lines = new LineCheck();
      lines.push(
        Buffer.from(Array.from({ length: count }, (_, n) => `{"text":"${n}"}\n`).join('')),
      );
      return lines.end();
    };
    const few = 'only 9 examples; at least 10 are recommended';
    expect(end(9)).toMatchObject({ details: few, report: { problems: [] } });
    expect(end(9).report.warnings).toEqual(['Only 9 examples; at least 10 are recommended.']);
    expect(end(10)).toMatchObject({ details: null, report: { warnings: [] } });
  });

  it('counts formats, the longest line, and fields that training does not read', () => {
    const lines = [
      '{"text":"ü"}',
      '',
      '{"prompt":"a","completion":"b"}',
      good,
      `{"parallel_tool_calls":true,${good.slice(1)}`.replace('yes', 'no'),
    ];
    expect(check(lines.join('\n'))).toEqual({
      records: 4,
      problems: [],
      tasks: expect.arrayContaining([{ task: 'causal_lm', fits: true, problem: null }]) as unknown,
      checked_as: 'causal_lm',
      formats: { text: 1, prompt_completion: 1, messages: 2 },
      duplicates: 0,
      duplicate_lines: [],
      ignored_fields: { parallel_tool_calls: 1 },
      longest_line: { line: 5, bytes: Buffer.byteLength(lines[4]!) },
      converted_from: null,
      warnings: [
        'Only 4 examples; at least 10 are recommended.',
        'The records are in more than one format: 1 plain text, 1 prompt with its completion, 2 chats.',
        'Training ignores the field "parallel_tool_calls", which 1 record has.',
      ],
    });
  });

  it('finds duplicate records in different notations', () => {
    const lines = [
      good,
      '{"messages": [{"content":"\\u00fc?","role":"user"}, {"role":"assistant","content":[{"type":"text","text":"yes"}],"weight":1}]}',
      good
        .replace('"yes"', '"yes","weight":0')
        .replace('}]}', '},{"role":"assistant","content":"yes"}]}'),
      '{"prompt":"ab","completion":"c"}',
      '{"prompt":"a","completion":"bc"}',
      '{"text":"abc"}',
      '{"completion":"c","prompt":"ab"}',
      good.replace('{"messages"', '{"tools":[{"type":"function"}],"messages"'),
      good,
    ];
    const report = check(lines.join('\n'));
    expect(report).toMatchObject({ records: 9, duplicates: 3, duplicate_lines: [2, 7, 9] });
    expect(report.warnings).toContain('3 records repeat an earlier one: lines 2, 7, 9.');
  });

  it('finds every duplicate among many, and lists the first twenty', () => {
    const lines = Array.from({ length: 30_000 }, (_, n) => `{"text":"${n % 20_000}"}\n`).join('');
    const report = check(lines);
    expect(report).toMatchObject({ records: 30_000, duplicates: 10_000 });
    expect(report.duplicate_lines).toEqual(Array.from({ length: 20 }, (_, n) => 20_001 + n));
    expect(report.warnings).toEqual(['10,000 records repeat an earlier one: lines 20001–30000.']);
  });
});
